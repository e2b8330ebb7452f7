#include "tests/elements/record.h"

#include <algorithm>
#include <utility>

namespace test {

std::string taken(gchar* text) {
  const std::string copy = text != nullptr ? text : "(null)";
  g_free(text);
  return copy;
}

namespace {

std::string number(guint64 value) {
  return value == GST_CLOCK_TIME_NONE ? "none" : std::to_string(value);
}

std::string of_buffer(GstBuffer* buffer) {
  GstMapInfo map;
  fail_unless(gst_buffer_map(buffer, &map, GST_MAP_READ));
  const std::string hash = taken(g_compute_checksum_for_data(G_CHECKSUM_SHA1, map.data, map.size));
  gst_buffer_unmap(buffer, &map);
  // Whether memory was written to since the pool gave it out is no one's business downstream.
  const guint flags = GST_BUFFER_FLAGS(buffer) &
                      ~static_cast<guint>(GST_MINI_OBJECT_FLAG_LAST - 1) &
                      ~static_cast<guint>(GST_BUFFER_FLAG_TAG_MEMORY);
  return "buffer " + number(GST_BUFFER_PTS(buffer)) + " " + number(GST_BUFFER_DTS(buffer)) + " " +
         number(GST_BUFFER_DURATION(buffer)) + " " + number(GST_BUFFER_OFFSET(buffer)) + " " +
         number(GST_BUFFER_OFFSET_END(buffer)) + " flags " + std::to_string(flags) + " " +
         std::to_string(gst_buffer_get_size(buffer)) + " " + hash + text_of_metas(buffer);
}

std::string of_segment(const GstSegment& segment) {
  return std::string(gst_format_get_name(segment.format)) + " rate " +
         std::to_string(segment.rate) + "*" + std::to_string(segment.applied_rate) + " flags " +
         std::to_string(segment.flags) + " base " + number(segment.base) + " offset " +
         number(segment.offset) + " start " + number(segment.start) + "-" + number(segment.stop) +
         " time " + number(segment.time) + " position " + number(segment.position) + " duration " +
         number(segment.duration);
}

// Elements begin it with a random number, or with a hash of where the stream is from.
std::string of_id(const gchar* id) {
  const std::string text = id != nullptr ? id : "";
  const size_t slash = text.find('/');
  return slash == std::string::npos ? "" : text.substr(slash);
}

std::string of_stream(GstStream* stream) {
  GstCaps* caps = gst_stream_get_caps(stream);
  const std::string all = " " + of_id(gst_stream_get_stream_id(stream)) + " type " +
                          std::to_string(gst_stream_get_stream_type(stream)) + " flags " +
                          std::to_string(gst_stream_get_stream_flags(stream)) + " " +
                          taken(caps != nullptr ? gst_caps_to_string(caps) : nullptr);
  gst_clear_caps(&caps);
  return all;
}

std::string of_collection(GstStreamCollection* collection) {
  std::string all;
  for (guint i = 0; i < gst_stream_collection_get_size(collection); ++i) {
    all += of_stream(gst_stream_collection_get_stream(collection, i)) + " ";
  }
  return all;
}

std::string of_toc(const GList* entries) {
  std::string all;
  for (; entries != nullptr; entries = entries->next) {
    auto* entry = static_cast<GstTocEntry*>(entries->data);
    gint64 start = -1;
    gint64 stop = -1;
    gst_toc_entry_get_start_stop_times(entry, &start, &stop);
    GstTagList* tags = gst_toc_entry_get_tags(entry);
    all += std::string(" ") + gst_toc_entry_type_get_nick(gst_toc_entry_get_entry_type(entry)) +
           " " + std::to_string(start) + "-" + std::to_string(stop) + " " +
           taken(tags != nullptr ? gst_tag_list_to_string(tags) : nullptr) + " (" +
           of_toc(gst_toc_entry_get_sub_entries(entry)) + ")";
  }
  return all;
}

guint group_of(GstEvent* event) {
  guint group = GST_GROUP_ID_INVALID;
  if (GST_EVENT_TYPE(event) == GST_EVENT_STREAM_START) gst_event_parse_group_id(event, &group);
  if (GST_EVENT_TYPE(event) == GST_EVENT_STREAM_GROUP_DONE)
    gst_event_parse_stream_group_done(event, &group);
  return group;
}

// With the group it is of, instead of the one that it names.
std::string of_event(GstEvent* event, size_t group) {
  const std::string name = GST_EVENT_TYPE_NAME(event);
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START: {
      GstStreamFlags flags{};
      gst_event_parse_stream_flags(event, &flags);
      const gchar* id = nullptr;
      gst_event_parse_stream_start(event, &id);
      GstStream* stream = nullptr;
      gst_event_parse_stream(event, &stream);
      const Ref<GstStream> owned(stream);
      return name + " group " + std::to_string(group) + " flags " + std::to_string(flags) + " id " +
             of_id(id) + (stream != nullptr ? of_stream(stream) : "");
    }
    case GST_EVENT_STREAM_GROUP_DONE:
      return name + " group " + std::to_string(group);
    case GST_EVENT_CAPS: {
      GstCaps* caps = nullptr;
      gst_event_parse_caps(event, &caps);
      return name + " " + taken(gst_caps_to_string(caps));
    }
    case GST_EVENT_SEGMENT: {
      const GstSegment* segment = nullptr;
      gst_event_parse_segment(event, &segment);
      return name + " " + of_segment(*segment);
    }
    case GST_EVENT_TAG: {
      GstTagList* tags = nullptr;
      gst_event_parse_tag(event, &tags);
      // What parsers measure depends on how far they have got when a seek comes.
      GstTagList* lasting = gst_tag_list_copy(tags);
      for (const char* measured :
           {GST_TAG_BITRATE, GST_TAG_MINIMUM_BITRATE, GST_TAG_MAXIMUM_BITRATE})
        gst_tag_list_remove_tag(lasting, measured);
      const std::string text = taken(gst_tag_list_to_string(lasting));
      gst_tag_list_unref(lasting);
      return name + " scope " + std::to_string(gst_tag_list_get_scope(tags)) + " " + text;
    }
    case GST_EVENT_TOC: {
      GstToc* toc = nullptr;
      gst_event_parse_toc(event, &toc, nullptr);
      const std::string text = " scope " + std::to_string(gst_toc_get_scope(toc)) +
                               of_toc(gst_toc_get_entries(toc));
      gst_toc_unref(toc);
      return name + text;
    }
    case GST_EVENT_STREAM_COLLECTION: {
      GstStreamCollection* collection = nullptr;
      gst_event_parse_stream_collection(event, &collection);
      const Ref<GstStreamCollection> owned(collection);
      return name + of_collection(collection);
    }
    default:
      if (const GstStructure* structure = gst_event_get_structure(event))
        return name + " " + taken(gst_structure_to_string(structure));
      return name;
  }
}

// Sticky events that are sent again without anything new.
bool is_repeatable(GstEventType type) {
  return type == GST_EVENT_TAG || type == GST_EVENT_INSTANT_RATE_CHANGE;
}

// What a pad keeps one of.
std::string kind(const std::string& line) {
  const bool is_tag = line.starts_with("tag scope");
  return line.substr(0, is_tag ? sizeof "tag scope 0" - 1 : line.find(' '));
}

bool is_data(const std::string& line) {
  return line.starts_with("buffer") || line.starts_with("gap");
}

// Two flushes without data between them may arrive as one: a flush begins past the data and ends in
// order with it, and what is between the two is void.
void merge_flushes(std::vector<std::string>& lines) {
  auto begins = lines.end();
  for (auto line = lines.begin(); line != lines.end(); ++line) {
    if (is_data(*line)) begins = lines.end();
    if (!line->starts_with("flush-start")) continue;
    if (begins != lines.end()) line = lines.erase(begins, line);
    begins = line;
  }
}

}  // namespace

Record::Record(const Pipeline& pipeline, const char* element)
    : pad_(gst_element_get_static_pad(pipeline.element(element), "sink")),
      probe_(gst_pad_add_probe(pad_,
                               static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_DATA_DOWNSTREAM |
                                                            GST_PAD_PROBE_TYPE_EVENT_FLUSH),
                               see, this, nullptr)) {}

Record::~Record() {
  gst_pad_remove_probe(pad_, probe_);
  gst_object_unref(pad_);
}

GstPadProbeReturn Record::see(GstPad*, GstPadProbeInfo* info, gpointer data) {
  auto& self = *static_cast<Record*>(data);
  if ((info->type & GST_PAD_PROBE_TYPE_BUFFER) != 0) {
    self.add(of_buffer(GST_PAD_PROBE_INFO_BUFFER(info)));
  } else if ((info->type & GST_PAD_PROBE_TYPE_BUFFER_LIST) != 0) {
    // A list may arrive as its buffers.
    GstBufferList* list = GST_PAD_PROBE_INFO_BUFFER_LIST(info);
    for (guint i = 0; i < gst_buffer_list_length(list); ++i)
      self.add(of_buffer(gst_buffer_list_get(list, i)));
  } else {
    GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
    const GstSegment* segment = nullptr;
    if (GST_EVENT_TYPE(event) == GST_EVENT_SEGMENT) {
      gst_event_parse_segment(event, &segment);
      self.counts_time_ = segment->format == GST_FORMAT_TIME;
    }
    std::string line = of_event(event, self.number_of_group(group_of(event)));
    if (is_repeatable(GST_EVENT_TYPE(event)) && !self.is_news(line)) return GST_PAD_PROBE_OK;
    self.add(std::move(line));
  }
  return GST_PAD_PROBE_OK;
}

size_t Record::number_of_group(guint group) {
  if (group == GST_GROUP_ID_INVALID) return 0;
  const std::lock_guard lock(mutex_);
  const auto known = std::find(groups_.begin(), groups_.end(), group);
  const auto number = static_cast<size_t>(known - groups_.begin()) + 1;
  if (known == groups_.end()) groups_.push_back(group);
  return number;
}

std::vector<guint> Record::groups() const {
  const std::lock_guard lock(mutex_);
  return groups_;
}

bool Record::is_news(const std::string& line) {
  const std::lock_guard lock(mutex_);
  return std::exchange(last_[kind(line)], line) != line;
}

void Record::add(std::string line) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::move(line));
}

std::vector<std::string> Record::lines() const {
  const std::lock_guard lock(mutex_);
  auto all = lines_;
  // A reader that comes after the first events gets them as a pad that is linked late does: the
  // last of each kind, in GStreamer's own order of sticky events.
  const auto rank = [](const std::string& line) {
    const std::string kinds[] = {"stream-start", "caps", "segment ", "tag scope 0", "tag scope 1"};
    const auto found = std::find_if(std::begin(kinds), std::end(kinds),
                                    [&](const auto& kind) { return line.starts_with(kind); });
    return found - std::begin(kinds);
  };
  const auto data = std::find_if(all.begin(), all.end(), is_data);
  std::stable_sort(all.begin(), data,
                   [&](const auto& one, const auto& other) { return rank(one) < rank(other); });
  auto kept = all.begin();
  for (auto line = all.begin(); line != data; ++line) {
    const bool is_last =
        std::none_of(line + 1, data, [&](const auto& later) { return kind(later) == kind(*line); });
    if (is_last && kept != line) *kept = std::move(*line);
    kept += is_last;
  }
  all.erase(kept, data);
  merge_flushes(all);
  all.insert(all.end(), answers_.begin(), answers_.end());
  return all;
}

size_t Record::count(const std::string& beginning) const {
  const auto now = lines();
  return static_cast<size_t>(std::count_if(
      now.begin(), now.end(), [&](const auto& line) { return line.starts_with(beginning); }));
}

void Record::ask(const Pipeline& pipeline) {
  gint64 value = 0;
  // A sink that does not count in time asks upstream, which may be ahead of it by a queue.
  const bool has_position =
      counts_time_ && gst_element_query_position(pipeline.get(), GST_FORMAT_TIME, &value);
  answers_.push_back("answer position " + (has_position ? std::to_string(value) : "none"));
  const bool has_duration = gst_element_query_duration(pipeline.get(), GST_FORMAT_TIME, &value);
  answers_.push_back("answer duration " + (has_duration ? std::to_string(value) : "none"));
  // The whole structure of an answer, where there is one.
  const auto note = [&](GstQuery* query, bool is_answered) {
    const Ref<GstQuery> owned(query);
    answers_.push_back(
        std::string("answer ") + GST_QUERY_TYPE_NAME(query) + " " +
        (is_answered ? taken(gst_structure_to_string(gst_query_get_structure(query))) : "none"));
  };
  GstQuery* query = gst_query_new_latency();
  note(query, gst_element_query(pipeline.get(), query) != FALSE);
  for (const GstFormat format : {GST_FORMAT_TIME, GST_FORMAT_BYTES, GST_FORMAT_DEFAULT}) {
    query = gst_query_new_seeking(format);
    note(query, gst_element_query(pipeline.get(), query) != FALSE);
    // And what the element before the sink answers.
    query = gst_query_new_convert(format, 1000000, GST_FORMAT_TIME);
    note(query, gst_pad_peer_query(pad_, query) != FALSE);
    query = gst_query_new_convert(GST_FORMAT_TIME, GST_SECOND, format);
    note(query, gst_pad_peer_query(pad_, query) != FALSE);
  }
  query = gst_query_new_segment(GST_FORMAT_TIME);
  note(query, gst_pad_peer_query(pad_, query) != FALSE);
  query = gst_query_new_formats();
  note(query, gst_pad_peer_query(pad_, query) != FALSE);
  query = gst_query_new_caps(nullptr);
  note(query, gst_pad_peer_query(pad_, query) != FALSE);
}

void check_same(const std::vector<std::string>& whole, const std::vector<std::string>& cut,
                const std::string& name) {
  const auto [one, other] = std::mismatch(whole.begin(), whole.end(), cut.begin(), cut.end());
  if (one == whole.end() && other == cut.end()) return;
  const auto line = one - whole.begin();
  ck_abort_msg("%s: line %d of %d is, cut (of %d),\n  %s\nand not\n  %s", name.c_str(),
               static_cast<int>(line), static_cast<int>(whole.size()), static_cast<int>(cut.size()),
               other != cut.end() ? other->c_str() : "(the end)",
               one != whole.end() ? one->c_str() : "(the end)");
}

}  // namespace test
