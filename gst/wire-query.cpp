// Queries and their answers as bytes, field by field.
//
// A question holds what the asking side filled in, an answer what the other did. An ALLOCATION
// query's answer names sizes and metas; pools and allocators stay in their process.
#include <algorithm>

#include "gst/around.h"
#include "gst/bytes.h"
#include "gst/wire-meta-kinds.h"
#include "gst/wire-structure.h"
#include "gst/wire.h"

namespace gstmmap {

namespace {

constexpr uint32_t kMostMetas = 64;
constexpr uint32_t kMostFormats = 64;
constexpr uint32_t kMostRanges = 256;

struct Values {
  int64_t first, second;
  int32_t format, second_format;
  double rate;
};

bool is_format(int32_t format) {
  return format >= GST_FORMAT_UNDEFINED && format <= GST_FORMAT_PERCENT;
}
GstFormat to_format(int32_t format) { return static_cast<GstFormat>(format); }

bool put_maybe_caps(GstCaps* caps, BytesOut& to) {
  to.put(uint32_t{caps != nullptr});
  return caps == nullptr || put_caps(caps, to);
}

// False where the bytes are neither caps nor none.
bool get_maybe_caps(BytesIn& from, Own<GstCaps>& caps) {
  if (from.get<uint32_t>() == 0) return from.good();
  caps = get_caps(from);
  return caps != nullptr;
}

bool put_context(GstContext* context, BytesOut& to) {
  to.put(static_cast<uint32_t>(gst_context_is_persistent(context)));
  return put_text(gst_context_get_context_type(context), to) &&
         put_fields(gst_context_get_structure(context), to);
}

GstContext* get_context(BytesIn& from) {
  const bool persistent = from.get<uint32_t>() != 0;
  const auto type = get_text(from);
  if (!type || type->empty()) return nullptr;
  GstContext* context = gst_context_new(type->c_str(), persistent);
  if (get_fields(from, gst_context_writable_structure(context))) return context;
  gst_context_unref(context);
  return nullptr;
}

struct Buffering {
  int64_t left, start, stop, estimated_total;
  int32_t format, busy, percent, mode, avg_in, avg_out;
  uint32_t ranges, zero;
};
struct Range {
  int64_t start, stop;
};

void put_buffering(GstQuery* query, BytesOut& to) {
  Buffering all{};
  gboolean busy = FALSE;
  GstBufferingMode mode{};
  GstFormat format{};
  gst_query_parse_buffering_percent(query, &busy, &all.percent);
  gst_query_parse_buffering_stats(query, &mode, &all.avg_in, &all.avg_out, &all.left);
  gst_query_parse_buffering_range(query, &format, &all.start, &all.stop, &all.estimated_total);
  all.busy = busy;
  all.mode = mode;
  all.format = format;
  all.ranges = std::min(gst_query_get_n_buffering_ranges(query), kMostRanges);
  to.put(all);
  for (uint32_t i = 0; i < all.ranges; ++i) {
    Range range{};
    gst_query_parse_nth_buffering_range(query, i, &range.start, &range.stop);
    to.put(range);
  }
}

bool get_buffering(BytesIn& from, GstQuery* query) {
  const auto all = from.get<Buffering>();
  if (!is_format(all.format) || all.ranges > kMostRanges || all.percent < 0 || all.percent > 100 ||
      all.mode < GST_BUFFERING_STREAM || all.mode > GST_BUFFERING_LIVE)
    return false;
  gst_query_set_buffering_percent(query, all.busy != 0, all.percent);
  gst_query_set_buffering_stats(query, static_cast<GstBufferingMode>(all.mode), all.avg_in,
                                all.avg_out, all.left);
  gst_query_set_buffering_range(query, to_format(all.format), all.start, all.stop,
                                all.estimated_total);
  for (uint32_t i = 0; i < all.ranges; ++i) {
    const auto range = from.get<Range>();
    // What GStreamer asserts on: an empty one, or one that begins before the end of another.
    if (range.start >= range.stop) return false;
    gst_query_add_buffering_range(query, range.start, range.stop);
  }
  return true;
}

bool put_uri(GstQuery* query, BytesOut& to) {
  gchar* uri = nullptr;
  gchar* redirection = nullptr;
  gboolean permanent = FALSE;
  gst_query_parse_uri(query, &uri);
  gst_query_parse_uri_redirection(query, &redirection);
  gst_query_parse_uri_redirection_permanent(query, &permanent);
  to.put(uint32_t{redirection != nullptr});
  to.put(static_cast<uint32_t>(permanent));
  const bool good = put_text(uri, to) && (redirection == nullptr || put_text(redirection, to));
  g_free(uri);
  g_free(redirection);
  return good;
}

bool get_uri(BytesIn& from, GstQuery* query) {
  const bool is_redirected = from.get<uint32_t>() != 0;
  const bool is_permanent = from.get<uint32_t>() != 0;
  const auto uri = get_text(from);
  std::optional<std::string> redirection;
  if (is_redirected) redirection = get_text(from);
  if (!uri || !gst_uri_is_valid(uri->c_str())) return false;
  if (is_redirected && (!redirection || !gst_uri_is_valid(redirection->c_str()))) return false;
  gst_query_set_uri(query, uri->c_str());
  if (!is_redirected) return true;
  gst_query_set_uri_redirection(query, redirection->c_str());
  gst_query_set_uri_redirection_permanent(query, is_permanent);
  return true;
}

struct Needs {
  uint32_t size, min, align, prefix, padding, metas;
  uint32_t has_around;
  Around around;
};

bool put_needs(GstQuery* query, BytesOut& to) {
  Needs needs{};
  for (guint i = 0; i < gst_query_get_n_allocation_pools(query); ++i) {
    guint size = 0;
    guint min = 0;
    gst_query_parse_nth_allocation_pool(query, i, nullptr, &size, &min, nullptr);
    needs.size = std::max(needs.size, size);
    needs.min = std::max(needs.min, min);
  }
  for (guint i = 0; i < gst_query_get_n_allocation_params(query); ++i) {
    GstAllocationParams params;
    gst_query_parse_nth_allocation_param(query, i, nullptr, &params);
    needs.align |= static_cast<uint32_t>(params.align);
    needs.prefix = std::max(needs.prefix, static_cast<uint32_t>(params.prefix));
    needs.padding = std::max(needs.padding, static_cast<uint32_t>(params.padding));
  }
  if (const auto around = around_of(query)) {
    needs.has_around = 1;
    needs.around = *around;
  }
  std::vector<const char*> metas;
  for (guint i = 0; i < gst_query_get_n_allocation_metas(query); ++i) {
    const GType api = gst_query_parse_nth_allocation_meta(query, i, nullptr);
    if (has_own_row(api) && metas.size() < kMostMetas) metas.push_back(g_type_name(api));
  }
  needs.metas = static_cast<uint32_t>(metas.size());
  to.put(needs);
  return std::all_of(metas.begin(), metas.end(),
                     [&](const char* name) { return put_name(name, to); });
}

bool get_needs(BytesIn& from, GstQuery* query) {
  const auto needs = from.get<Needs>();
  if (needs.metas > kMostMetas) return false;
  if (needs.min > 0) gst_query_add_allocation_pool(query, nullptr, needs.size, needs.min, 0);
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  params.align = needs.align;
  params.prefix = needs.prefix;
  params.padding = needs.padding;
  gst_query_add_allocation_param(query, nullptr, &params);
  for (uint32_t i = 0; i < needs.metas; ++i) {
    const char* name = get_name(from);
    if (name == nullptr) return false;
    const GType api = g_type_from_name(name);
    if (api == G_TYPE_INVALID || !has_own_row(api) ||
        gst_query_find_allocation_meta(query, api, nullptr))
      continue;
    if (api == GST_VIDEO_META_API_TYPE && needs.has_around != 0)
      add_video_meta(query, needs.around);
    else
      gst_query_add_allocation_meta(query, api, nullptr);
  }
  return true;
}

bool put_question(GstQuery* query, BytesOut& to) {
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_LATENCY:
    case GST_QUERY_DRAIN:
    case GST_QUERY_FORMATS:
    case GST_QUERY_SEGMENT:
    case GST_QUERY_URI:
    case GST_QUERY_BITRATE:
      return true;
    case GST_QUERY_POSITION: {
      GstFormat format{};
      gst_query_parse_position(query, &format, nullptr);
      to.put(static_cast<int32_t>(format));
      return true;
    }
    case GST_QUERY_BUFFERING: {
      GstFormat format{};
      gst_query_parse_buffering_range(query, &format, nullptr, nullptr, nullptr);
      to.put(static_cast<int32_t>(format));
      return true;
    }
    case GST_QUERY_DURATION: {
      GstFormat format{};
      gst_query_parse_duration(query, &format, nullptr);
      to.put(static_cast<int32_t>(format));
      return true;
    }
    case GST_QUERY_SEEKING: {
      GstFormat format{};
      gst_query_parse_seeking(query, &format, nullptr, nullptr, nullptr);
      to.put(static_cast<int32_t>(format));
      return true;
    }
    case GST_QUERY_CONVERT: {
      GstFormat from{};
      GstFormat into{};
      gint64 value = 0;
      gst_query_parse_convert(query, &from, &value, &into, nullptr);
      to.put(Values{value, 0, from, into, 0});
      return true;
    }
    case GST_QUERY_CAPS: {
      GstCaps* filter = nullptr;
      gst_query_parse_caps(query, &filter);
      return put_maybe_caps(filter, to);
    }
    case GST_QUERY_ACCEPT_CAPS: {
      GstCaps* caps = nullptr;
      gst_query_parse_accept_caps(query, &caps);
      return put_maybe_caps(caps, to);
    }
    case GST_QUERY_ALLOCATION: {
      GstCaps* caps = nullptr;
      gboolean need_pool = FALSE;
      gst_query_parse_allocation(query, &caps, &need_pool);
      to.put(static_cast<uint32_t>(need_pool));
      return put_maybe_caps(caps, to);
    }
    case GST_QUERY_CONTEXT: {
      const gchar* type = nullptr;
      return gst_query_parse_context_type(query, &type) && put_text(type, to);
    }
    case GST_QUERY_CUSTOM: {
      const GstStructure* structure = gst_query_get_structure(query);
      return structure != nullptr && put_structure(structure, to);
    }
    default:
      return false;
  }
}

// A number, because it may be none that the enum can hold.
GstQuery* get_question(uint32_t type, BytesIn& from) {
  switch (type) {
    case GST_QUERY_LATENCY:
      return gst_query_new_latency();
    case GST_QUERY_DRAIN:
      return gst_query_new_drain();
    case GST_QUERY_FORMATS:
      return gst_query_new_formats();
    case GST_QUERY_SEGMENT:
      return gst_query_new_segment(GST_FORMAT_TIME);
    case GST_QUERY_URI:
      return gst_query_new_uri();
    case GST_QUERY_BITRATE:
      return gst_query_new_bitrate();
    case GST_QUERY_BUFFERING: {
      const auto format = from.get<int32_t>();
      return is_format(format) ? gst_query_new_buffering(to_format(format)) : nullptr;
    }
    case GST_QUERY_POSITION: {
      const auto format = from.get<int32_t>();
      return is_format(format) ? gst_query_new_position(to_format(format)) : nullptr;
    }
    case GST_QUERY_DURATION: {
      const auto format = from.get<int32_t>();
      return is_format(format) ? gst_query_new_duration(to_format(format)) : nullptr;
    }
    case GST_QUERY_SEEKING: {
      const auto format = from.get<int32_t>();
      return is_format(format) ? gst_query_new_seeking(to_format(format)) : nullptr;
    }
    case GST_QUERY_CONVERT: {
      const auto values = from.get<Values>();
      if (!is_format(values.format) || !is_format(values.second_format)) return nullptr;
      return gst_query_new_convert(to_format(values.format), values.first,
                                   to_format(values.second_format));
    }
    case GST_QUERY_CAPS: {
      Own<GstCaps> filter;
      return get_maybe_caps(from, filter) ? gst_query_new_caps(filter.get()) : nullptr;
    }
    case GST_QUERY_ACCEPT_CAPS: {
      Own<GstCaps> caps;
      if (!get_maybe_caps(from, caps) || !caps || !gst_caps_is_fixed(caps.get())) return nullptr;
      return gst_query_new_accept_caps(caps.get());
    }
    case GST_QUERY_ALLOCATION: {
      const bool need_pool = from.get<uint32_t>() != 0;
      Own<GstCaps> caps;
      if (!get_maybe_caps(from, caps) || (caps && !gst_caps_is_fixed(caps.get()))) return nullptr;
      return gst_query_new_allocation(caps.get(), need_pool);
    }
    case GST_QUERY_CONTEXT: {
      const auto context = get_text(from);
      return context && !context->empty() ? gst_query_new_context(context->c_str()) : nullptr;
    }
    case GST_QUERY_CUSTOM: {
      auto structure = get_structure(from);
      return structure ? gst_query_new_custom(GST_QUERY_CUSTOM, structure.release()) : nullptr;
    }
    default:
      return nullptr;
  }
}

bool put_answer(GstQuery* query, BytesOut& to) {
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_LATENCY: {
      gboolean live = FALSE;
      GstClockTime min = 0;
      GstClockTime max = 0;
      gst_query_parse_latency(query, &live, &min, &max);
      to.put(Values{static_cast<int64_t>(min), static_cast<int64_t>(max), live, 0, 0});
      return true;
    }
    case GST_QUERY_DRAIN:
      return true;
    case GST_QUERY_URI:
      return put_uri(query, to);
    case GST_QUERY_BITRATE: {
      // gst_query_parse_bitrate() asserts that there is one.
      guint bitrate = 0;
      const bool is_there = gst_structure_get_uint(gst_query_get_structure(query),
                                                   "nominal-bitrate", &bitrate);
      to.put(uint32_t{bitrate});
      return is_there;
    }
    case GST_QUERY_BUFFERING:
      put_buffering(query, to);
      return true;
    case GST_QUERY_FORMATS: {
      guint count = 0;
      gst_query_parse_n_formats(query, &count);
      to.put(std::min(count, kMostFormats));
      for (guint i = 0; i < std::min(count, kMostFormats); ++i) {
        GstFormat format{};
        gst_query_parse_nth_format(query, i, &format);
        to.put(static_cast<int32_t>(format));
      }
      return true;
    }
    case GST_QUERY_SEGMENT: {
      Values values{};
      GstFormat format{};
      gst_query_parse_segment(query, &values.rate, &format, &values.first, &values.second);
      values.format = format;
      to.put(values);
      return true;
    }
    case GST_QUERY_POSITION: {
      GstFormat format{};
      Values values{};
      gst_query_parse_position(query, &format, &values.first);
      values.format = format;
      to.put(values);
      return true;
    }
    case GST_QUERY_DURATION: {
      GstFormat format{};
      Values values{};
      gst_query_parse_duration(query, &format, &values.first);
      values.format = format;
      to.put(values);
      return true;
    }
    case GST_QUERY_SEEKING: {
      GstFormat format{};
      gboolean seekable = FALSE;
      Values values{};
      gst_query_parse_seeking(query, &format, &seekable, &values.first, &values.second);
      values.format = format;
      values.second_format = seekable;
      to.put(values);
      return true;
    }
    case GST_QUERY_CONVERT: {
      GstFormat from{};
      GstFormat into{};
      Values values{};
      gst_query_parse_convert(query, &from, &values.first, &into, &values.second);
      values.format = from;
      values.second_format = into;
      to.put(values);
      return true;
    }
    case GST_QUERY_CAPS: {
      GstCaps* caps = nullptr;
      gst_query_parse_caps_result(query, &caps);
      return put_maybe_caps(caps, to);
    }
    case GST_QUERY_ACCEPT_CAPS: {
      gboolean result = FALSE;
      gst_query_parse_accept_caps_result(query, &result);
      to.put(static_cast<uint32_t>(result));
      return true;
    }
    case GST_QUERY_ALLOCATION:
      return put_needs(query, to);
    case GST_QUERY_CONTEXT: {
      GstContext* context = nullptr;
      gst_query_parse_context(query, &context);
      return context != nullptr && put_context(context, to);
    }
    case GST_QUERY_CUSTOM: {
      const GstStructure* structure = gst_query_get_structure(query);
      return structure != nullptr && put_structure(structure, to);
    }
    default:
      return false;
  }
}

bool get_answer(BytesIn& from, GstQuery* query) {
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_LATENCY: {
      const auto values = from.get<Values>();
      const auto min = static_cast<GstClockTime>(values.first);
      const auto max = static_cast<GstClockTime>(values.second);
      if (min == GST_CLOCK_TIME_NONE) return false;
      gst_query_set_latency(query, values.format != 0, min, max);
      return true;
    }
    case GST_QUERY_DRAIN:
      return true;
    case GST_QUERY_URI:
      return get_uri(from, query);
    case GST_QUERY_BITRATE:
      gst_query_set_bitrate(query, from.get<uint32_t>());
      return true;
    case GST_QUERY_BUFFERING:
      return get_buffering(from, query);
    case GST_QUERY_FORMATS: {
      const auto count = from.get<uint32_t>();
      if (count > kMostFormats) return false;
      std::vector<GstFormat> formats;
      for (uint32_t i = 0; i < count; ++i) {
        const auto format = from.get<int32_t>();
        if (!is_format(format)) return false;
        formats.push_back(to_format(format));
      }
      gst_query_set_formatsv(query, static_cast<gint>(formats.size()), formats.data());
      return true;
    }
    case GST_QUERY_SEGMENT: {
      const auto values = from.get<Values>();
      if (!is_format(values.format)) return false;
      gst_query_set_segment(query, values.rate, to_format(values.format), values.first,
                            values.second);
      return true;
    }
    case GST_QUERY_POSITION:
    case GST_QUERY_DURATION: {
      const auto values = from.get<Values>();
      const bool is_position = GST_QUERY_TYPE(query) == GST_QUERY_POSITION;
      GstFormat asked{};
      (is_position ? gst_query_parse_position : gst_query_parse_duration)(query, &asked, nullptr);
      if (values.format != asked) return false;
      (is_position ? gst_query_set_position : gst_query_set_duration)(query, asked, values.first);
      return true;
    }
    case GST_QUERY_SEEKING: {
      const auto values = from.get<Values>();
      if (!is_format(values.format)) return false;
      gst_query_set_seeking(query, to_format(values.format), values.second_format != 0,
                            values.first, values.second);
      return true;
    }
    case GST_QUERY_CONVERT: {
      const auto values = from.get<Values>();
      if (!is_format(values.format) || !is_format(values.second_format)) return false;
      gst_query_set_convert(query, to_format(values.format), values.first,
                            to_format(values.second_format), values.second);
      return true;
    }
    case GST_QUERY_CAPS: {
      Own<GstCaps> caps;
      if (!get_maybe_caps(from, caps) || !caps) return false;
      gst_query_set_caps_result(query, caps.get());
      return true;
    }
    case GST_QUERY_ACCEPT_CAPS:
      gst_query_set_accept_caps_result(query, from.get<uint32_t>() != 0);
      return true;
    case GST_QUERY_ALLOCATION:
      return get_needs(from, query);
    case GST_QUERY_CONTEXT: {
      GstContext* context = get_context(from);
      const gchar* wanted = nullptr;
      if (context == nullptr) return false;
      gst_query_parse_context_type(query, &wanted);
      const bool good = gst_context_has_context_type(context, wanted);
      if (good) gst_query_set_context(query, context);
      gst_context_unref(context);
      return good;
    }
    case GST_QUERY_CUSTOM: {
      const auto structure = get_structure(from);
      GstStructure* own = gst_query_writable_structure(query);
      if (!structure || own == nullptr) return false;
      gst_structure_remove_all_fields(own);
      gst_structure_set_name(own, gst_structure_get_name(structure.get()));
      gst_structure_foreach(
          structure.get(),
          [](GQuark field, const GValue* value, gpointer to) -> gboolean {
            gst_structure_id_set_value(static_cast<GstStructure*>(to), field, value);
            return TRUE;
          },
          own);
      return true;
    }
    default:
      return false;
  }
}

}  // namespace

std::optional<std::vector<std::byte>> encode_question(GstQuery* query) {
  std::vector<std::byte> bytes;
  BytesOut to(bytes);
  to.put(static_cast<uint32_t>(GST_QUERY_TYPE(query)));
  if (!put_question(query, to)) return std::nullopt;
  return bytes;
}

GstQuery* decode_question(std::span<const std::byte> bytes) {
  BytesIn from(bytes);
  const auto type = from.get<uint32_t>();
  GstQuery* query = get_question(type, from);
  if (query != nullptr && !from.complete()) gst_clear_query(&query);
  return query;
}

std::optional<std::vector<std::byte>> encode_answer(GstQuery* query) {
  std::vector<std::byte> bytes;
  BytesOut to(bytes);
  if (!put_answer(query, to)) return std::nullopt;
  return bytes;
}

bool decode_answer(std::span<const std::byte> bytes, GstQuery* query) {
  BytesIn from(bytes);
  return get_answer(from, query) && from.complete();
}

}  // namespace gstmmap
