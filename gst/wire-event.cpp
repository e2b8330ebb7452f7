// Serialized downstream events as bytes: type, seqnum, running-time offset, and a body.
//
// A SEGMENT goes field by field, so that rates and times arrive bit for bit; caps, tags and other
// structures as the text that GStreamer itself writes and parses.
#include <memory>

#include "gst/bytes.h"
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
  uint32_t flags;
  uint32_t has_group;
  uint32_t group;
  uint32_t zero;
};

struct FreeString {
  void operator()(char* text) const { g_free(text); }
};
using String = std::unique_ptr<char, FreeString>;

struct FreeStructure {
  void operator()(GstStructure* structure) const { gst_structure_free(structure); }
};
using Structure = std::unique_ptr<GstStructure, FreeStructure>;

Segment from_gst(const GstSegment& in) {
  return {static_cast<uint32_t>(in.flags),
          in.format,
          in.rate,
          in.applied_rate,
          in.base,
          in.offset,
          in.start,
          in.stop,
          in.time,
          in.position,
          in.duration};
}

bool to_gst(const Segment& in, GstSegment& out) {
  if (in.format < GST_FORMAT_UNDEFINED || in.format > GST_FORMAT_PERCENT) return false;
  // What GStreamer would assert on.
  if (!(in.rate < 0.0 || in.rate > 0.0) || !(in.applied_rate < 0.0 || in.applied_rate > 0.0))
    return false;
  gst_segment_init(&out, static_cast<GstFormat>(in.format));
  out.flags = static_cast<GstSegmentFlags>(in.flags);
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

GstStructure* structure_of(BytesIn& from) {
  const std::string text = from.rest_as_text();
  return from.good() ? gst_structure_from_string(text.c_str(), nullptr) : nullptr;
}

void encode_body(GstEvent* event, BytesOut& to) {
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START: {
      const char* id = nullptr;
      GstStreamFlags flags{};
      guint group = 0;
      gst_event_parse_stream_start(event, &id);
      gst_event_parse_stream_flags(event, &flags);
      const bool has_group = gst_event_parse_group_id(event, &group);
      to.put(StreamStart{static_cast<uint32_t>(flags), has_group, group, 0});
      to.text(id);
      break;
    }
    case GST_EVENT_CAPS: {
      GstCaps* caps = nullptr;
      gst_event_parse_caps(event, &caps);
      to.text(String(gst_caps_to_string(caps)).get());
      break;
    }
    case GST_EVENT_SEGMENT: {
      const GstSegment* segment = nullptr;
      gst_event_parse_segment(event, &segment);
      to.put(from_gst(*segment));
      break;
    }
    case GST_EVENT_TAG: {
      GstTagList* tags = nullptr;
      gst_event_parse_tag(event, &tags);
      to.put(static_cast<uint32_t>(gst_tag_list_get_scope(tags)));
      to.text(String(gst_tag_list_to_string(tags)).get());
      break;
    }
    default:
      if (const GstStructure* structure = gst_event_get_structure(event))
        to.text(String(gst_structure_to_string(structure)).get());
  }
}

GstEvent* decode_body(GstEventType type, BytesIn& from) {
  switch (type) {
    case GST_EVENT_STREAM_START: {
      const auto start = from.get<StreamStart>();
      const auto id = from.rest_as_text();
      if (!from.good()) return nullptr;
      GstEvent* event = gst_event_new_stream_start(id.c_str());
      gst_event_set_stream_flags(event, static_cast<GstStreamFlags>(start.flags));
      if (start.has_group != 0 && start.group != 0) gst_event_set_group_id(event, start.group);
      return event;
    }
    case GST_EVENT_CAPS: {
      const auto text = from.rest_as_text();
      GstCaps* caps = from.good() ? gst_caps_from_string(text.c_str()) : nullptr;
      GstEvent* event = nullptr;
      if (caps != nullptr && gst_caps_is_fixed(caps)) event = gst_event_new_caps(caps);
      gst_clear_caps(&caps);
      return event;
    }
    case GST_EVENT_SEGMENT: {
      GstSegment segment;
      const auto fields = from.get<Segment>();
      if (!from.complete() || !to_gst(fields, segment)) return nullptr;
      return gst_event_new_segment(&segment);
    }
    case GST_EVENT_TAG: {
      const auto scope = from.get<uint32_t>();
      const auto text = from.rest_as_text();
      if (!from.good() || scope > GST_TAG_SCOPE_GLOBAL) return nullptr;
      GstTagList* tags = gst_tag_list_new_from_string(text.c_str());
      if (tags == nullptr) return nullptr;
      gst_tag_list_set_scope(tags, static_cast<GstTagScope>(scope));
      return gst_event_new_tag(tags);
    }
    case GST_EVENT_EOS:
      return from.complete() ? gst_event_new_eos() : nullptr;
    case GST_EVENT_GAP: {
      const Structure structure(structure_of(from));
      if (!structure) return nullptr;
      guint64 timestamp = GST_CLOCK_TIME_NONE;
      guint64 duration = GST_CLOCK_TIME_NONE;
      gst_structure_get(structure.get(), "timestamp", G_TYPE_UINT64, &timestamp, "duration",
                        G_TYPE_UINT64, &duration, nullptr);
      if (timestamp == GST_CLOCK_TIME_NONE) return nullptr;
      return gst_event_new_gap(timestamp, duration);
    }
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_STICKY: {
      GstStructure* structure = structure_of(from);
      return structure != nullptr ? gst_event_new_custom(type, structure) : nullptr;
    }
    default:
      return nullptr;
  }
}

bool crosses(GstEventType type) {
  switch (type) {
    case GST_EVENT_STREAM_START:
    case GST_EVENT_CAPS:
    case GST_EVENT_SEGMENT:
    case GST_EVENT_TAG:
    case GST_EVENT_EOS:
    case GST_EVENT_GAP:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_STICKY:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<std::vector<std::byte>> encode_event(GstEvent* event) {
  if (!crosses(GST_EVENT_TYPE(event))) return std::nullopt;
  std::vector<std::byte> bytes;
  BytesOut to(bytes);
  to.put(Header{static_cast<uint32_t>(GST_EVENT_TYPE(event)), gst_event_get_seqnum(event),
                gst_event_get_running_time_offset(event)});
  encode_body(event, to);
  return bytes;
}

GstEvent* decode_event(std::span<const std::byte> bytes) {
  BytesIn from(bytes);
  const auto header = from.get<Header>();
  const auto type = static_cast<GstEventType>(header.type);
  if (!from.good() || !crosses(type)) return nullptr;
  GstEvent* event = decode_body(type, from);
  if (event == nullptr) return nullptr;
  if (header.seqnum != GST_SEQNUM_INVALID) gst_event_set_seqnum(event, header.seqnum);
  gst_event_set_running_time_offset(event, header.running_time_offset);
  return event;
}

}  // namespace gstmmap
