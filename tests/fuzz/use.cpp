#include <gst/video/video.h>

#include "tests/fuzz/gst.h"

namespace fuzz {

void use(GstCaps* caps) {
  const WarningsAllowed theirs;
  const Own<GstCaps> both(gst_caps_intersect(caps, caps));
  const Own<GstCaps> simple(gst_caps_simplify(gst_caps_copy(caps)));
  gst_caps_is_subset(caps, simple.get());
  const Own<gchar> text(gst_caps_to_string(caps));
  if (!gst_caps_is_any(caps) && !gst_caps_is_empty(caps))
    const Own<GstCaps> fixed(gst_caps_fixate(gst_caps_copy(caps)));
  if (!gst_caps_is_fixed(caps)) return;
  // As our own elements read them.
  GstVideoInfo video;
  GstVideoAlignment alignment;
  gst_video_alignment_reset(&alignment);
  if (gst_video_info_from_caps(&video, caps)) gst_video_info_align(&video, &alignment);
}

void use(const GstStructure* structure) {
  const WarningsAllowed theirs;
  const Own<GstStructure> copy(gst_structure_copy(structure));
  // GStreamer 1.28 fixates caps in its fields, too, which those that are ANY are not for.
  const auto is_not_any = [](GQuark, const GValue* value, gpointer) -> gboolean {
    const GstCaps* caps = GST_VALUE_HOLDS_CAPS(value) ? gst_value_get_caps(value) : nullptr;
    return caps == nullptr || !gst_caps_is_any(caps);
  };
  if (gst_structure_foreach(structure, is_not_any, nullptr)) gst_structure_fixate(copy.get());
  const Own<gchar> text(gst_structure_to_string(structure));
}

void use(const GstTagList* tags) {
  const WarningsAllowed theirs;
  const Own<GstTagList> copy(gst_tag_list_copy(tags));
  gst_tag_list_is_equal(tags, copy.get());
  const Own<gchar> text(gst_tag_list_to_string(tags));
  const Own<GstTagList> both(gst_tag_list_merge(tags, copy.get(), GST_TAG_MERGE_APPEND));
}

void use(const GstSegment* segment) {
  if (segment->format == GST_FORMAT_UNDEFINED) return;
  for (const guint64 position : {guint64{0}, segment->start, segment->stop, segment->position}) {
    guint64 other = 0;
    gst_segment_to_running_time_full(segment, segment->format, position, &other);
    gst_segment_position_from_running_time_full(segment, segment->format, position, &other);
    gst_segment_to_stream_time_full(segment, segment->format, position, &other);
    gst_segment_position_from_stream_time_full(segment, segment->format, position, &other);
    guint64 stop = 0;
    gst_segment_clip(segment, segment->format, position, segment->stop, &other, &stop);
  }
  GstSegment moved = *segment;
  if (gst_segment_offset_running_time(&moved, moved.format, 1000)) {
    GstSegment back = moved;
    gst_segment_offset_running_time(&back, back.format, -1000);
  }
}

void use(GstEvent* event) {
  const Own<GstEvent> copy(gst_event_copy(event));
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_CAPS: {
      GstCaps* caps = nullptr;
      gst_event_parse_caps(event, &caps);
      use(caps);
      break;
    }
    case GST_EVENT_SEGMENT: {
      const GstSegment* segment = nullptr;
      gst_event_parse_segment(event, &segment);
      use(segment);
      break;
    }
    case GST_EVENT_TAG: {
      GstTagList* tags = nullptr;
      gst_event_parse_tag(event, &tags);
      use(tags);
      break;
    }
    default:
      if (GST_EVENT_TYPE(event) >= GST_EVENT_CUSTOM_UPSTREAM) use(gst_event_get_structure(event));
  }
}

void use(GstQuery* query) {
  const Own<GstQuery> copy(gst_query_copy(query));
  if (GST_QUERY_TYPE(query) == GST_QUERY_CUSTOM) use(gst_query_get_structure(query));
}

}  // namespace fuzz
