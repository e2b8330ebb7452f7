// Events as bytes: type, seqnum, running-time offset, and a body, field by field, so that rates and
// times arrive bit for bit. Flushes have kinds of their own (wire.h).
#include <cmath>

#include "gst/bytes.h"
#include "gst/wire-stream.h"
#include "gst/wire-structure.h"
#include "gst/wire.h"

namespace gstmmap {

namespace {

struct Header {
  uint32_t type;
  uint32_t seqnum;
  int64_t running_time_offset;
};

struct Segment {
  uint32_t flags;
  int32_t format;
  double rate;
  double applied_rate;
  uint64_t base, offset, start, stop, time, position, duration;
};

struct StreamStart {
  uint32_t flags, has_group, group, has_stream;
};
struct Group {
  uint32_t id;
};
struct Gap {
  uint64_t timestamp, duration;
  uint32_t flags, zero;
};
struct SegmentDone {
  int64_t position;
  int32_t format;
  uint32_t zero;
};
struct InstantRate {
  double multiplier;
  uint32_t flags, zero;
};
struct InstantRateTime {
  double multiplier;
  uint64_t running_time, upstream_running_time;
};
struct BufferSize {
  int64_t minsize, maxsize;
  int32_t format;
  uint32_t async;
};
struct Qos {
  double proportion;
  int64_t diff;
  uint64_t timestamp;
  uint32_t type, zero;
};
struct Seek {
  double rate;
  int64_t start, stop;
  uint64_t trickmode_interval;
  int32_t format;
  uint32_t flags, start_type, stop_type;
};
struct Step {
  double rate;
  uint64_t amount;
  int32_t format;
  uint32_t flush, intermediate, zero;
};

bool is_format(int32_t format) {
  return format >= GST_FORMAT_UNDEFINED && format <= GST_FORMAT_PERCENT;
}

// What GStreamer would assert on, or divide by.
bool is_rate(double rate) { return std::isfinite(rate) && (rate < 0.0 || rate > 0.0); }

// Backwards there has to be where it begins.
bool is_sound(const Segment& segment) {
  return is_format(segment.format) && segment.format != GST_FORMAT_UNDEFINED &&
         is_rate(segment.rate) && is_rate(segment.applied_rate) &&
         (segment.rate > 0.0 ||
          (segment.stop != GST_CLOCK_TIME_NONE && segment.stop >= segment.offset));
}

bool to_gst(const Segment& in, GstSegment& out) {
  if (!is_sound(in)) return false;
  gst_segment_init(&out, static_cast<GstFormat>(in.format));
  out.flags = known_flags<GstSegmentFlags, gst_segment_flags_get_type>(in.flags);
  out.rate = in.rate;
  out.applied_rate = in.applied_rate;
  out.base = in.base;
  out.offset = in.offset;
  out.start = in.start;
  out.stop = in.stop;
  out.time = in.time;
  out.position = in.position;
  out.duration = in.duration;
  return true;
}

// False where it can't cross.
bool encode_body(GstEvent* event, BytesOut& to) {
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_EOS:
    case GST_EVENT_RECONFIGURE:
      return true;
    case GST_EVENT_STREAM_START: {
      const char* id = nullptr;
      GstStreamFlags flags{};
      guint group = 0;
      GstStream* stream = nullptr;
      gst_event_parse_stream_start(event, &id);
      gst_event_parse_stream_flags(event, &flags);
      gst_event_parse_stream(event, &stream);
      const bool has_group = gst_event_parse_group_id(event, &group);
      to.put(StreamStart{static_cast<uint32_t>(flags), has_group, group, stream != nullptr});
      const bool good = put_text(id, to) && (stream == nullptr || put_stream(stream, to));
      gst_clear_object(&stream);
      return good;
    }
    case GST_EVENT_STREAM_COLLECTION: {
      GstStreamCollection* streams = nullptr;
      gst_event_parse_stream_collection(event, &streams);
      return put_streams(OwnStream<GstStreamCollection>(streams).get(), to);
    }
    case GST_EVENT_STREAM_GROUP_DONE: {
      guint group = 0;
      gst_event_parse_stream_group_done(event, &group);
      to.put(Group{group});
      return true;
    }
    case GST_EVENT_CAPS: {
      GstCaps* caps = nullptr;
      gst_event_parse_caps(event, &caps);
      return put_caps(caps, to);
    }
    case GST_EVENT_SEGMENT: {
      const GstSegment* in = nullptr;
      gst_event_parse_segment(event, &in);
      const Segment segment{static_cast<uint32_t>(in->flags),
                            in->format,
                            in->rate,
                            in->applied_rate,
                            in->base,
                            in->offset,
                            in->start,
                            in->stop,
                            in->time,
                            in->position,
                            in->duration};
      to.put(segment);
      return is_sound(segment);
    }
    case GST_EVENT_TAG: {
      GstTagList* tags = nullptr;
      gst_event_parse_tag(event, &tags);
      put_tags(tags, to);
      return true;
    }
    case GST_EVENT_TOC: {
      GstToc* toc = nullptr;
      gboolean updated = FALSE;
      gst_event_parse_toc(event, &toc, &updated);
      to.put(static_cast<uint32_t>(updated));
      return put_toc(OwnStream<GstToc>(toc).get(), to);
    }
    case GST_EVENT_TOC_SELECT: {
      gchar* uid = nullptr;
      gst_event_parse_toc_select(event, &uid);
      const bool good = put_text(uid, to);
      g_free(uid);
      return good;
    }
    case GST_EVENT_PROTECTION: {
      const gchar* system = nullptr;
      const gchar* origin = nullptr;
      GstBuffer* data = nullptr;
      gst_event_parse_protection(event, &system, &data, &origin);
      to.put(uint32_t{origin != nullptr});
      if (!is_structure_name(gst_structure_get_name(gst_event_get_structure(event))) ||
          !put_text(system, to) || (origin != nullptr && !put_text(origin, to)))
        return false;
      GstMapInfo map;
      if (!gst_buffer_map(data, &map, GST_MAP_READ)) return false;
      put_bytes(std::as_bytes(std::span(map.data, map.size)), to);
      gst_buffer_unmap(data, &map);
      return true;
    }
    case GST_EVENT_GAP: {
      Gap gap{};
      GstGapFlags flags{};
      gst_event_parse_gap(event, &gap.timestamp, &gap.duration);
      gst_event_parse_gap_flags(event, &flags);
      gap.flags = static_cast<uint32_t>(flags);
      to.put(gap);
      return true;
    }
    case GST_EVENT_SEGMENT_DONE: {
      GstFormat format{};
      SegmentDone done{};
      gst_event_parse_segment_done(event, &format, &done.position);
      done.format = format;
      to.put(done);
      return true;
    }
    case GST_EVENT_INSTANT_RATE_CHANGE: {
      InstantRate rate{};
      GstSegmentFlags flags{};
      gst_event_parse_instant_rate_change(event, &rate.multiplier, &flags);
      rate.flags = static_cast<uint32_t>(flags);
      to.put(rate);
      return true;
    }
    case GST_EVENT_INSTANT_RATE_SYNC_TIME: {
      InstantRateTime time{};
      gst_event_parse_instant_rate_sync_time(event, &time.multiplier, &time.running_time,
                                             &time.upstream_running_time);
      to.put(time);
      return true;
    }
    case GST_EVENT_BUFFERSIZE: {
      BufferSize size{};
      GstFormat format{};
      gboolean async = FALSE;
      gst_event_parse_buffer_size(event, &format, &size.minsize, &size.maxsize, &async);
      size.format = format;
      size.async = static_cast<uint32_t>(async);
      to.put(size);
      return true;
    }
    case GST_EVENT_LATENCY: {
      GstClockTime latency = 0;
      gst_event_parse_latency(event, &latency);
      to.put(latency);
      return true;
    }
    case GST_EVENT_QOS: {
      GstQOSType type{};
      Qos qos{};
      gst_event_parse_qos(event, &type, &qos.proportion, &qos.diff, nullptr);
      // Without the running-time offset, which goes by itself.
      gst_structure_get_uint64(gst_event_get_structure(event), "timestamp", &qos.timestamp);
      qos.type = static_cast<uint32_t>(type);
      to.put(qos);
      return true;
    }
    case GST_EVENT_SEEK: {
      Seek seek{};
      GstFormat format{};
      GstSeekFlags flags{};
      GstSeekType start_type{};
      GstSeekType stop_type{};
      gst_event_parse_seek(event, &seek.rate, &format, &flags, &start_type, &seek.start, &stop_type,
                           &seek.stop);
      gst_event_parse_seek_trickmode_interval(event, &seek.trickmode_interval);
      seek.format = format;
      seek.flags = static_cast<uint32_t>(flags);
      seek.start_type = static_cast<uint32_t>(start_type);
      seek.stop_type = static_cast<uint32_t>(stop_type);
      to.put(seek);
      return true;
    }
    case GST_EVENT_STEP: {
      Step step{};
      GstFormat format{};
      gboolean flush = FALSE;
      gboolean intermediate = FALSE;
      gst_event_parse_step(event, &format, &step.amount, &step.rate, &flush, &intermediate);
      step.format = format;
      step.flush = static_cast<uint32_t>(flush);
      step.intermediate = static_cast<uint32_t>(intermediate);
      to.put(step);
      return true;
    }
    case GST_EVENT_SELECT_STREAMS: {
      GList* streams = nullptr;
      gst_event_parse_select_streams(event, &streams);
      to.put(g_list_length(streams));
      bool good = true;
      for (GList* one = streams; one != nullptr; one = one->next)
        good = good && put_text(static_cast<const char*>(one->data), to);
      g_list_free_full(streams, g_free);
      return good;
    }
    case GST_EVENT_SINK_MESSAGE: {
      GstMessage* message = nullptr;
      gst_event_parse_sink_message(event, &message);
      // Others say something of an element there.
      const bool good = message != nullptr && GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT &&
                        put_name(gst_structure_get_name(gst_event_get_structure(event)), to) &&
                        put_structure(gst_message_get_structure(message), to);
      gst_clear_message(&message);
      return good;
    }
    case GST_EVENT_NAVIGATION:
    case GST_EVENT_CUSTOM_UPSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_OOB:
    case GST_EVENT_CUSTOM_DOWNSTREAM_STICKY:
    case GST_EVENT_CUSTOM_BOTH:
    case GST_EVENT_CUSTOM_BOTH_OOB: {
      const GstStructure* structure = gst_event_get_structure(event);
      return structure != nullptr && put_structure(structure, to);
    }
    default:
      return false;
  }
}

GstEvent* decode_stream_start(BytesIn& from) {
  const auto start = from.get<StreamStart>();
  const auto id = get_text(from);
  OwnStream<GstStream> stream;
  if (!id || (start.has_stream != 0 && !(stream = get_stream(from)))) return nullptr;
  GstEvent* event = gst_event_new_stream_start(id->c_str());
  gst_event_set_stream_flags(event,
                             known_flags<GstStreamFlags, gst_stream_flags_get_type>(start.flags));
  if (start.has_group != 0 && start.group != 0) gst_event_set_group_id(event, start.group);
  if (stream) gst_event_set_stream(event, stream.get());
  return event;
}

GstEvent* decode_protection(BytesIn& from) {
  const bool has_origin = from.get<uint32_t>() != 0;
  const auto system = get_text(from);
  std::optional<std::string> origin;
  if (!system || (has_origin && !(origin = get_text(from)))) return nullptr;
  const auto bytes = get_bytes(from);
  if (!from.good()) return nullptr;
  // As GStreamer calls the structure of such an event.
  const std::string name = "GstProtectionEvent" + (origin ? "-" + *origin : "") + "-" + *system;
  if (!is_structure_name(name) || keep_name(name) == nullptr) return nullptr;
  GstBuffer* data = buffer_with(bytes);
  GstEvent* event =
      gst_event_new_protection(system->c_str(), data, origin ? origin->c_str() : nullptr);
  gst_buffer_unref(data);
  return event;
}

GstEvent* decode_seek(const Seek& seek) {
  const auto is_type = [](uint32_t type) { return type <= GST_SEEK_TYPE_END; };
  if (!is_format(seek.format) || !is_rate(seek.rate) || !is_type(seek.start_type) ||
      !is_type(seek.stop_type) || seek.trickmode_interval == GST_CLOCK_TIME_NONE)
    return nullptr;
  auto flags = known_flags<GstSeekFlags, gst_seek_flags_get_type>(seek.flags);
  // Which GStreamer would do too, with a warning.
  if ((flags & GST_SEEK_FLAG_KEY_UNIT) == 0)
    flags = static_cast<GstSeekFlags>(flags & ~GST_SEEK_FLAG_SNAP_NEAREST);
  // What GStreamer asserts: another rate is all that such a seek brings.
  if ((flags & GST_SEEK_FLAG_INSTANT_RATE_CHANGE) != 0 &&
      ((flags & GST_SEEK_FLAG_FLUSH) != 0 || seek.start_type != GST_SEEK_TYPE_NONE ||
       seek.stop_type != GST_SEEK_TYPE_NONE))
    return nullptr;
  GstEvent* event = gst_event_new_seek(seek.rate, static_cast<GstFormat>(seek.format), flags,
                                       static_cast<GstSeekType>(seek.start_type), seek.start,
                                       static_cast<GstSeekType>(seek.stop_type), seek.stop);
  gst_event_set_seek_trickmode_interval(event, seek.trickmode_interval);
  return event;
}

GstEvent* decode_select_streams(BytesIn& from) {
  constexpr uint32_t kMost = 256;
  const auto count = from.get<uint32_t>();
  if (count == 0 || count > kMost) return nullptr;
  std::vector<std::string> ids;
  for (uint32_t i = 0; i < count; ++i) {
    auto id = get_text(from);
    if (!id) return nullptr;
    ids.push_back(std::move(*id));
  }
  GList* list = nullptr;
  for (const auto& id : ids) list = g_list_append(list, const_cast<char*>(id.c_str()));
  GstEvent* event = gst_event_new_select_streams(list);  // copies
  g_list_free(list);
  return event;
}

GstEvent* decode_sink_message(BytesIn& from) {
  const char* name = get_name(from);
  if (name == nullptr || !is_structure_name(name)) return nullptr;
  auto structure = get_structure(from);
  if (!structure) return nullptr;
  GstMessage* message = gst_message_new_element(nullptr, structure.release());
  GstEvent* event = gst_event_new_sink_message(name, message);
  gst_message_unref(message);
  return event;
}

// A number, because it may be none that the enum can hold.
GstEvent* decode_body(uint32_t type, BytesIn& from) {
  switch (type) {
    case GST_EVENT_EOS:
      return gst_event_new_eos();
    case GST_EVENT_RECONFIGURE:
      return gst_event_new_reconfigure();
    case GST_EVENT_STREAM_START:
      return decode_stream_start(from);
    case GST_EVENT_STREAM_COLLECTION: {
      const auto streams = get_streams(from);
      return streams ? gst_event_new_stream_collection(streams.get()) : nullptr;
    }
    case GST_EVENT_STREAM_GROUP_DONE: {
      const auto group = from.get<Group>();
      return group.id != GST_GROUP_ID_INVALID ? gst_event_new_stream_group_done(group.id) : nullptr;
    }
    case GST_EVENT_CAPS: {
      const auto caps = get_caps(from);
      return caps && gst_caps_is_fixed(caps.get()) ? gst_event_new_caps(caps.get()) : nullptr;
    }
    case GST_EVENT_SEGMENT: {
      GstSegment segment;
      return to_gst(from.get<Segment>(), segment) ? gst_event_new_segment(&segment) : nullptr;
    }
    case GST_EVENT_TAG: {
      auto tags = get_tags(from);
      return tags ? gst_event_new_tag(tags.release()) : nullptr;
    }
    case GST_EVENT_TOC: {
      const auto updated = from.get<uint32_t>();
      const auto toc = get_toc(from);
      return toc ? gst_event_new_toc(toc.get(), updated != 0) : nullptr;
    }
    case GST_EVENT_TOC_SELECT: {
      const auto uid = get_text(from);
      return uid ? gst_event_new_toc_select(uid->c_str()) : nullptr;
    }
    case GST_EVENT_PROTECTION:
      return decode_protection(from);
    case GST_EVENT_GAP: {
      const auto gap = from.get<Gap>();
      if (gap.timestamp == GST_CLOCK_TIME_NONE) return nullptr;
      GstEvent* event = gst_event_new_gap(gap.timestamp, gap.duration);
      const auto flags = known_flags<GstGapFlags, gst_gap_flags_get_type>(gap.flags);
      if (flags != GstGapFlags{}) gst_event_set_gap_flags(event, flags);
      return event;
    }
    case GST_EVENT_SEGMENT_DONE: {
      const auto done = from.get<SegmentDone>();
      if (!is_format(done.format)) return nullptr;
      return gst_event_new_segment_done(static_cast<GstFormat>(done.format), done.position);
    }
    case GST_EVENT_INSTANT_RATE_CHANGE: {
      const auto rate = from.get<InstantRate>();
      if (!is_rate(rate.multiplier)) return nullptr;
      return gst_event_new_instant_rate_change(
          rate.multiplier, static_cast<GstSegmentFlags>(rate.flags & GST_SEGMENT_INSTANT_FLAGS));
    }
    case GST_EVENT_INSTANT_RATE_SYNC_TIME: {
      const auto time = from.get<InstantRateTime>();
      if (!is_rate(time.multiplier) || time.running_time == GST_CLOCK_TIME_NONE ||
          time.upstream_running_time == GST_CLOCK_TIME_NONE)
        return nullptr;
      return gst_event_new_instant_rate_sync_time(time.multiplier, time.running_time,
                                                  time.upstream_running_time);
    }
    case GST_EVENT_BUFFERSIZE: {
      const auto size = from.get<BufferSize>();
      if (!is_format(size.format)) return nullptr;
      return gst_event_new_buffer_size(static_cast<GstFormat>(size.format), size.minsize,
                                       size.maxsize, size.async != 0);
    }
    case GST_EVENT_LATENCY: {
      const auto latency = from.get<uint64_t>();
      return latency != GST_CLOCK_TIME_NONE ? gst_event_new_latency(latency) : nullptr;
    }
    case GST_EVENT_QOS: {
      const auto qos = from.get<Qos>();
      // What GStreamer asserts on: a difference that reaches back before the beginning.
      const bool early =
          qos.diff < 0 && qos.timestamp < uint64_t{0} - static_cast<uint64_t>(qos.diff);
      if (qos.type > GST_QOS_TYPE_THROTTLE || !std::isfinite(qos.proportion) || early)
        return nullptr;
      return gst_event_new_qos(static_cast<GstQOSType>(qos.type), qos.proportion, qos.diff,
                               qos.timestamp);
    }
    case GST_EVENT_SEEK:
      return decode_seek(from.get<Seek>());
    case GST_EVENT_STEP: {
      const auto step = from.get<Step>();
      if (!is_format(step.format) || !std::isfinite(step.rate) || step.rate <= 0.0) return nullptr;
      return gst_event_new_step(static_cast<GstFormat>(step.format), step.amount, step.rate,
                                step.flush != 0, step.intermediate != 0);
    }
    case GST_EVENT_SELECT_STREAMS:
      return decode_select_streams(from);
    case GST_EVENT_SINK_MESSAGE:
      return decode_sink_message(from);
    case GST_EVENT_NAVIGATION:
    case GST_EVENT_CUSTOM_UPSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_OOB:
    case GST_EVENT_CUSTOM_DOWNSTREAM_STICKY:
    case GST_EVENT_CUSTOM_BOTH:
    case GST_EVENT_CUSTOM_BOTH_OOB: {
      auto structure = get_structure(from);
      return structure ? gst_event_new_custom(static_cast<GstEventType>(type), structure.release())
                       : nullptr;
    }
    default:
      return nullptr;
  }
}

}  // namespace

std::optional<std::vector<std::byte>> encode_event(GstEvent* event) {
  std::vector<std::byte> bytes;
  BytesOut to(bytes);
  to.put(Header{static_cast<uint32_t>(GST_EVENT_TYPE(event)), gst_event_get_seqnum(event),
                gst_event_get_running_time_offset(event)});
  if (!encode_body(event, to)) return std::nullopt;
  return bytes;
}

GstEvent* decode_event(std::span<const std::byte> bytes) {
  BytesIn from(bytes);
  const auto header = from.get<Header>();
  if (!from.good()) return nullptr;
  GstEvent* event = decode_body(header.type, from);
  if (event == nullptr) return nullptr;
  if (!from.complete()) {
    gst_event_unref(event);
    return nullptr;
  }
  if (header.seqnum != GST_SEQNUM_INVALID) gst_event_set_seqnum(event, header.seqnum);
  gst_event_set_running_time_offset(event, header.running_time_offset);
  return event;
}

}  // namespace gstmmap
