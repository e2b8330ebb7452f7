#include "gst/wire-stream.h"

#include "gst/wire-structure.h"
#include "gst/wire-value.h"

namespace gstmmap {

namespace {

// More than any file has, and few enough for a hostile peer.
constexpr uint32_t kMostTags = 4096;
constexpr uint32_t kMostStreams = 256;
constexpr uint32_t kMostEntries = 65536;
constexpr int kDeepestToc = 8;

// --- samples, such as cover art ---------------------------------------------------------------

enum class Kind : uint32_t { value = 1, sample = 2 };

struct HasParts {
  uint32_t caps, buffer, info;
};

bool put_sample(GstSample* sample, BytesOut& to) {
  GstCaps* caps = gst_sample_get_caps(sample);
  GstBuffer* buffer = gst_sample_get_buffer(sample);
  const GstStructure* info = gst_sample_get_info(sample);
  to.put(HasParts{caps != nullptr, 1, info != nullptr});
  if (caps != nullptr && !put_caps(caps, to)) return false;
  if (info != nullptr && !put_structure(info, to)) return false;
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return false;
  put_bytes(std::as_bytes(std::span(map.data, map.size)), to);
  gst_buffer_unmap(buffer, &map);
  return true;
}

GstSample* get_sample(BytesIn& from) {
  const auto has = from.get<HasParts>();
  // GStreamer compares the buffers of two that a tag has, without looking whether there are any.
  if (has.buffer == 0) return nullptr;
  Own<GstCaps> caps;
  Own<GstStructure> info;
  if (has.caps != 0 && !(caps = get_caps(from))) return nullptr;
  if (has.info != 0 && !(info = get_structure(from))) return nullptr;
  const auto bytes = get_bytes(from);
  if (!from.good()) return nullptr;
  GstBuffer* buffer = buffer_with(bytes);
  GstSample* sample = gst_sample_new(buffer, caps.get(), nullptr, info.release());
  gst_clear_buffer(&buffer);
  return sample;
}

bool put_tag_value(const GValue* value, BytesOut& to) {
  if (!G_VALUE_HOLDS(value, GST_TYPE_SAMPLE)) {
    to.put(Kind::value);
    return !is_absent(value) && put_value(value, to, kDeepest);
  }
  to.put(Kind::sample);
  GstSample* sample = gst_value_get_sample(value);
  return sample != nullptr && gst_sample_get_buffer(sample) != nullptr && put_sample(sample, to);
}

bool get_tag_value(BytesIn& from, GValue* value) {
  switch (from.get<Kind>()) {
    case Kind::value:
      return get_value(from, value, kDeepest) && !is_absent(value);
    case Kind::sample:
      g_value_init(value, GST_TYPE_SAMPLE);
      g_value_take_boxed(value, get_sample(from));
      return g_value_get_boxed(value) != nullptr;
  }
  return false;
}

}  // namespace

// --- tags ---------------------------------------------------------------------------------------

void put_tags(const GstTagList* tags, BytesOut& to) {
  struct Context {
    std::vector<std::byte> bytes;
    uint32_t count = 0;
  } context;
  gst_tag_list_foreach(
      tags,
      [](const GstTagList* list, const gchar* tag, gpointer data) {
        auto& all = *static_cast<Context*>(data);
        for (guint i = 0; i < gst_tag_list_get_tag_size(list, tag); ++i) {
          std::vector<std::byte> one;
          BytesOut out(one);
          if (all.count == kMostTags || !put_name(tag, out) ||
              !put_tag_value(gst_tag_list_get_value_index(list, tag, i), out))
            continue;
          all.bytes.insert(all.bytes.end(), one.begin(), one.end());
          ++all.count;
        }
      },
      &context);
  to.put(static_cast<uint32_t>(gst_tag_list_get_scope(tags)));
  to.put(context.count);
  to.bytes(context.bytes);
}

OwnStream<GstTagList> get_tags(BytesIn& from) {
  const auto scope = from.get<uint32_t>();
  const auto count = from.get<uint32_t>();
  if (!from.good() || scope > GST_TAG_SCOPE_GLOBAL || count > kMostTags) return nullptr;
  OwnStream<GstTagList> tags(gst_tag_list_new_empty());
  gst_tag_list_set_scope(tags.get(), static_cast<GstTagScope>(scope));
  for (uint32_t i = 0; i < count; ++i) {
    const char* name = get_name(from);
    GValue value = G_VALUE_INIT;
    const bool good = name != nullptr && get_tag_value(from, &value);
    // A tag that is registered over there only is left out.
    if (good && gst_tag_exists(name) && gst_tag_get_type(name) == G_VALUE_TYPE(&value))
      gst_tag_list_add_value(tags.get(), GST_TAG_MERGE_APPEND, name, &value);
    if (G_VALUE_TYPE(&value) != G_TYPE_INVALID) g_value_unset(&value);
    if (!good) return nullptr;
  }
  return tags;
}

// --- streams
// --------------------------------------------------------------------------------------

namespace {

struct StreamParts {
  uint32_t type, flags, has_caps, has_tags;
};

}  // namespace

bool put_stream(GstStream* stream, BytesOut& to) {
  const Own<GstCaps> caps(gst_stream_get_caps(stream));
  const OwnStream<GstTagList> tags(gst_stream_get_tags(stream));
  to.put(StreamParts{static_cast<uint32_t>(gst_stream_get_stream_type(stream)),
                     static_cast<uint32_t>(gst_stream_get_stream_flags(stream)), caps != nullptr,
                     tags != nullptr});
  if (!put_text(gst_stream_get_stream_id(stream), to)) return false;
  if (caps && !put_caps(caps.get(), to)) return false;
  if (tags) put_tags(tags.get(), to);
  return true;
}

OwnStream<GstStream> get_stream(BytesIn& from) {
  const auto parts = from.get<StreamParts>();
  const auto id = get_text(from);
  if (!id) return nullptr;
  Own<GstCaps> caps;
  OwnStream<GstTagList> tags;
  if (parts.has_caps != 0 && !(caps = get_caps(from))) return nullptr;
  if (parts.has_tags != 0 && !(tags = get_tags(from))) return nullptr;
  OwnStream<GstStream> stream(gst_stream_new(
      id->c_str(), caps.get(), known_flags<GstStreamType, gst_stream_type_get_type>(parts.type),
      known_flags<GstStreamFlags, gst_stream_flags_get_type>(parts.flags)));
  if (tags) gst_stream_set_tags(stream.get(), tags.get());
  return stream;
}

bool put_streams(GstStreamCollection* streams, BytesOut& to) {
  const guint count = gst_stream_collection_get_size(streams);
  const char* upstream = gst_stream_collection_get_upstream_id(streams);
  if (count > kMostStreams) return false;
  to.put(uint32_t{upstream != nullptr});
  if (upstream != nullptr && !put_text(upstream, to)) return false;
  to.put(count);
  for (guint i = 0; i < count; ++i)
    if (!put_stream(gst_stream_collection_get_stream(streams, i), to)) return false;
  return true;
}

OwnStream<GstStreamCollection> get_streams(BytesIn& from) {
  std::optional<std::string> upstream;
  if (from.get<uint32_t>() != 0 && !(upstream = get_text(from))) return nullptr;
  const auto count = from.get<uint32_t>();
  if (!from.good() || count > kMostStreams) return nullptr;
  OwnStream<GstStreamCollection> streams(
      gst_stream_collection_new(upstream ? upstream->c_str() : nullptr));
  for (uint32_t i = 0; i < count; ++i) {
    auto stream = get_stream(from);
    if (!stream) return nullptr;
    gst_stream_collection_add_stream(streams.get(), stream.release());
  }
  return streams;
}

// --- tables of contents
// ---------------------------------------------------------------------------

namespace {

struct Entry {
  int32_t type;
  uint32_t has_times, has_loop, has_tags;
  int64_t start, stop;
  int32_t loop_type, repeat_count;
  uint32_t children, zero;
};

bool put_entries(GList* entries, BytesOut& to, uint32_t& left, int depth);

bool put_entry(GstTocEntry* entry, BytesOut& to, uint32_t& left, int depth) {
  if (left == 0 || depth == 0) return false;
  --left;
  gint64 start = 0;
  gint64 stop = 0;
  GstTocLoopType loop_type{};
  gint repeat = 0;
  GList* children = gst_toc_entry_get_sub_entries(entry);
  GstTagList* tags = gst_toc_entry_get_tags(entry);
  const bool has_times = gst_toc_entry_get_start_stop_times(entry, &start, &stop);
  const bool has_loop = gst_toc_entry_get_loop(entry, &loop_type, &repeat);
  to.put(Entry{gst_toc_entry_get_entry_type(entry), has_times, has_loop, tags != nullptr, start,
               stop, loop_type, repeat, g_list_length(children), 0});
  if (!put_text(gst_toc_entry_get_uid(entry), to)) return false;
  if (tags != nullptr) put_tags(tags, to);
  return put_entries(children, to, left, depth - 1);
}

bool put_entries(GList* entries, BytesOut& to, uint32_t& left, int depth) {
  for (; entries != nullptr; entries = entries->next)
    if (!put_entry(static_cast<GstTocEntry*>(entries->data), to, left, depth)) return false;
  return true;
}

OwnStream<GstTocEntry> get_entry(BytesIn& from, uint32_t& left, int depth) {
  const auto fields = from.get<Entry>();
  const auto uid = get_text(from);
  if (!uid || left == 0 || depth == 0) return nullptr;
  --left;
  if (fields.type < GST_TOC_ENTRY_TYPE_ANGLE || fields.type > GST_TOC_ENTRY_TYPE_CHAPTER ||
      fields.type == GST_TOC_ENTRY_TYPE_INVALID)
    return nullptr;
  OwnStream<GstTocEntry> entry(
      gst_toc_entry_new(static_cast<GstTocEntryType>(fields.type), uid->c_str()));
  if (fields.has_times != 0)
    gst_toc_entry_set_start_stop_times(entry.get(), fields.start, fields.stop);
  if (fields.has_loop != 0 && fields.loop_type >= GST_TOC_LOOP_NONE &&
      fields.loop_type <= GST_TOC_LOOP_PING_PONG)
    gst_toc_entry_set_loop(entry.get(), static_cast<GstTocLoopType>(fields.loop_type),
                           fields.repeat_count);
  if (fields.has_tags != 0) {
    auto tags = get_tags(from);
    if (!tags) return nullptr;
    gst_toc_entry_set_tags(entry.get(), tags.release());
  }
  for (uint32_t i = 0; i < fields.children; ++i) {
    auto child = get_entry(from, left, depth - 1);
    // Alternatives and sequences are not mixed, and GStreamer asserts on that.
    if (!child ||
        (gst_toc_entry_is_alternative(entry.get()) && gst_toc_entry_is_alternative(child.get())))
      return nullptr;
    GList* before = gst_toc_entry_get_sub_entries(entry.get());
    if (before != nullptr && gst_toc_entry_is_sequence(static_cast<GstTocEntry*>(before->data)) !=
                                 gst_toc_entry_is_sequence(child.get()))
      return nullptr;
    gst_toc_entry_append_sub_entry(entry.get(), child.release());
  }
  return entry;
}

struct TocParts {
  uint32_t scope, has_tags, entries, zero;
};

}  // namespace

bool put_toc(GstToc* toc, BytesOut& to) {
  GList* entries = gst_toc_get_entries(toc);
  GstTagList* tags = gst_toc_get_tags(toc);
  to.put(TocParts{static_cast<uint32_t>(gst_toc_get_scope(toc)), tags != nullptr,
                  g_list_length(entries), 0});
  if (tags != nullptr) put_tags(tags, to);
  uint32_t left = kMostEntries;
  return put_entries(entries, to, left, kDeepestToc);
}

OwnStream<GstToc> get_toc(BytesIn& from) {
  const auto parts = from.get<TocParts>();
  if (!from.good() || (parts.scope != GST_TOC_SCOPE_GLOBAL && parts.scope != GST_TOC_SCOPE_CURRENT))
    return nullptr;
  OwnStream<GstToc> toc(gst_toc_new(static_cast<GstTocScope>(parts.scope)));
  if (parts.has_tags != 0) {
    auto tags = get_tags(from);
    if (!tags) return nullptr;
    gst_toc_set_tags(toc.get(), tags.release());
  }
  uint32_t left = kMostEntries;
  for (uint32_t i = 0; i < parts.entries; ++i) {
    auto entry = get_entry(from, left, kDeepestToc);
    GList* before = gst_toc_get_entries(toc.get());
    if (!entry ||
        (before != nullptr && gst_toc_entry_is_sequence(static_cast<GstTocEntry*>(before->data)) !=
                                  gst_toc_entry_is_sequence(entry.get())))
      return nullptr;
    gst_toc_append_entry(toc.get(), entry.release());
  }
  return toc;
}

}  // namespace gstmmap
