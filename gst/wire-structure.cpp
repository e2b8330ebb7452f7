#include "gst/wire-structure.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

#include "gst/wire-value.h"

namespace gstmmap {

namespace {

constexpr size_t kLongestName = 255;
// Of those that peers made GLib keep: a few tens of MB. What it needs grows with their square.
constexpr uint32_t kMostNames = 100'000;
// All fields are gone through to set one.
constexpr uint32_t kMostFields = 1024;
constexpr uint32_t kMostStructures = 1024;

enum class CapsAre : uint32_t { listed, any };

constexpr int32_t kDay = 24 * 60 * 60;
// A day less than what GDateTime can say, so that any time zone fits.
constexpr int64_t kFirstSecond = -62135596800 + kDay;
constexpr int64_t kLastSecond = 253402300799 - kDay;

struct Time {
  int64_t seconds;  // since 1970
  int32_t microseconds;
  int32_t offset;  // of the time zone, in seconds
  bool sound() const {
    return seconds >= kFirstSecond && seconds <= kLastSecond && microseconds >= 0 &&
           microseconds < G_TIME_SPAN_SECOND && offset > -kDay && offset < kDay;
  }
};

bool is_letter(char c) { return g_ascii_isalpha(c); }
bool is_letter_or_digit(char c) { return g_ascii_isalnum(c); }

}  // namespace

bool is_structure_name(std::string_view name) {
  const auto fits = [](char c) {
    return is_letter_or_digit(c) || std::string_view("/-_.:+").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= kLongestName && is_letter(name[0]) &&
         std::ranges::all_of(name, fits) && !name.starts_with("video/x-raw-") &&
         !name.starts_with("audio/x-raw-");
}

namespace {

bool is_feature_name(std::string_view name) {
  const size_t colon = name.find(':');
  if (colon == std::string_view::npos) return false;
  const auto what = name.substr(colon + 1);
  return std::ranges::all_of(name.substr(0, colon), is_letter) && !what.empty() &&
         is_letter(what[0]) && std::ranges::all_of(what, is_letter_or_digit);
}

// Caps are there to be compared, and GStreamer can't do that with each type: gchar is one. Nor with a
// list of several of which one is an empty list. Caps within caps have been asked by then.
bool comparable(const GValue* value, bool is_listed = false);

bool comparable(const GstStructure* structure) {
  return gst_structure_foreach(
      structure,
      [](GQuark, const GValue* value, gpointer) -> gboolean { return comparable(value); }, nullptr);
}

bool comparable(const GValue* value, bool is_listed) {
  if (GST_VALUE_HOLDS_STRUCTURE(value)) {
    const GstStructure* inner = gst_value_get_structure(value);
    return inner != nullptr && comparable(inner);
  }
  const bool is_list = GST_VALUE_HOLDS_LIST(value);
  if (!is_list && !GST_VALUE_HOLDS_ARRAY(value)) return gst_value_can_compare(value, value);
  const auto at = is_list ? gst_value_list_get_value : gst_value_array_get_value;
  const guint count = is_list ? gst_value_list_get_size(value) : gst_value_array_get_size(value);
  if (is_listed && is_list && count == 0) return false;
  for (guint i = 0; i < count; ++i)
    if (!comparable(at(value, i), true)) return false;
  return true;
}

bool put_features(const GstCapsFeatures* features, BytesOut& to) {
  const bool any = gst_caps_features_is_any(features);
  to.put(any ? CapsAre::any : CapsAre::listed);
  if (any) return true;
  const guint count = gst_caps_features_get_size(features);
  to.put(count);
  for (guint i = 0; i < count; ++i) {
    const char* name = gst_caps_features_get_nth(features, i);
    if (!is_feature_name(name) || !put_name(name, to)) return false;
  }
  return true;
}

Own<GstCapsFeatures> get_features(BytesIn& from) {
  const auto are = from.get<uint32_t>();
  if (are == static_cast<uint32_t>(CapsAre::any))
    return Own<GstCapsFeatures>(gst_caps_features_new_any());
  Own<GstCapsFeatures> features(gst_caps_features_new_empty());
  const auto count = from.get<uint32_t>();
  if (are != static_cast<uint32_t>(CapsAre::listed) || count > kMostFields) return nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    const char* name = get_name(from);
    if (name == nullptr || !is_feature_name(name)) return nullptr;
    gst_caps_features_add(features.get(), name);
  }
  return from.good() ? std::move(features) : nullptr;
}

}  // namespace

// --- text and time ------------------------------------------------------------------------------

bool put_bytes(std::span<const std::byte> bytes, BytesOut& to) {
  if (bytes.size() > kMostBytes) return false;
  to.put(static_cast<uint32_t>(bytes.size()));
  to.text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return true;
}

std::span<const std::byte> get_bytes(BytesIn& from) { return from.take(from.get<uint32_t>()); }

GstBuffer* buffer_with(std::span<const std::byte> bytes) {
  // GStreamer minds memory of size 0 that is nowhere.
  return bytes.empty() ? gst_buffer_new() : gst_buffer_new_memdup(bytes.data(), bytes.size());
}

bool put_text(const char* text, BytesOut& to) {
  return text != nullptr && g_utf8_validate(text, -1, nullptr) &&
         put_bytes(std::as_bytes(std::span(std::string_view(text))), to);
}

std::optional<std::string> get_text(BytesIn& from) {
  BytesIn bytes(get_bytes(from));
  auto text = bytes.rest_as_text();
  return from.good() && bytes.good() ? std::optional(std::move(text)) : std::nullopt;
}

bool put_name(const char* name, BytesOut& to) {
  return name != nullptr && std::string_view(name).size() <= kLongestName && put_text(name, to);
}

const char* keep_name(const std::string& name) {
  static std::atomic<uint32_t> made{0};
  if (name.size() > kLongestName) return nullptr;
  const bool known = g_quark_try_string(name.c_str()) != 0;
  if (!known && (made >= kMostNames || ++made > kMostNames)) return nullptr;
  // Whether GStreamer keeps it or not: it counts once.
  return g_intern_string(name.c_str());
}

const char* get_name(BytesIn& from) {
  const auto name = get_text(from);
  return name ? keep_name(*name) : nullptr;
}

bool put_date_time(GDateTime* time, BytesOut& to) {
  const Time parts{g_date_time_to_unix(time), g_date_time_get_microsecond(time),
                   static_cast<int32_t>(g_date_time_get_utc_offset(time) / G_TIME_SPAN_SECOND)};
  to.put(parts);
  return parts.sound();
}

Own<GDateTime> get_date_time(BytesIn& from) {
  const auto time = from.get<Time>();
  if (!from.good() || !time.sound()) return nullptr;
  const Own<GDateTime> second(g_date_time_new_from_unix_utc(time.seconds));
  const Own<GDateTime> utc(g_date_time_add(second.get(), time.microseconds));
  GTimeZone* zone = g_time_zone_new_offset(time.offset);
  Own<GDateTime> local(g_date_time_to_timezone(utc.get(), zone));
  g_time_zone_unref(zone);
  return local;
}

// --- structures ---------------------------------------------------------------------------------

bool put_fields(const GstStructure* structure, BytesOut& to, int depth) {
  const auto count = static_cast<uint32_t>(gst_structure_n_fields(structure));
  to.put(count);
  if (count > kMostFields) return false;
  for (guint i = 0; i < count; ++i) {
    const char* name = gst_structure_nth_field_name(structure, i);
    if (!put_name(name, to) || !put_value(gst_structure_get_value(structure, name), to, depth))
      return false;
  }
  return true;
}

bool get_fields(BytesIn& from, GstStructure* structure, int depth) {
  const auto count = from.get<uint32_t>();
  if (!from.good() || count > kMostFields) return false;
  for (uint32_t i = 0; i < count; ++i) {
    const char* name = get_name(from);
    if (name == nullptr) return false;
    GValue value = G_VALUE_INIT;
    if (!get_value(from, &value, depth)) {
      g_value_unset(&value);
      return false;
    }
    gst_structure_take_value(structure, name, &value);
  }
  return true;
}

bool put_structure(const GstStructure* structure, BytesOut& to, int depth) {
  if (structure == nullptr || depth == 0) return false;
  const char* name = gst_structure_get_name(structure);
  return is_structure_name(name) && put_name(name, to) && put_fields(structure, to, depth - 1);
}

Own<GstStructure> get_structure(BytesIn& from, int depth) {
  const char* name = get_name(from);
  if (name == nullptr || !is_structure_name(name) || depth == 0) return nullptr;
  Own<GstStructure> structure(gst_structure_new_empty(name));
  return get_fields(from, structure.get(), depth - 1) ? std::move(structure) : nullptr;
}

// --- caps ---------------------------------------------------------------------------------------

bool put_caps(GstCaps* caps, BytesOut& to, int depth) {
  if (caps == nullptr || depth == 0) return false;
  const bool any = gst_caps_is_any(caps);
  to.put(any ? CapsAre::any : CapsAre::listed);
  if (any) return true;
  const guint count = gst_caps_get_size(caps);
  to.put(count);
  if (count > kMostStructures) return false;
  for (guint i = 0; i < count; ++i)
    if (!comparable(gst_caps_get_structure(caps, i)) ||
        !put_structure(gst_caps_get_structure(caps, i), to, depth) ||
        !put_features(gst_caps_get_features(caps, i), to))
      return false;
  return true;
}

Own<GstCaps> get_caps(BytesIn& from, int depth) {
  const auto are = from.get<uint32_t>();
  if (!from.good() || depth == 0) return nullptr;
  if (are == static_cast<uint32_t>(CapsAre::any)) return Own<GstCaps>(gst_caps_new_any());
  const auto count = from.get<uint32_t>();
  if (are != static_cast<uint32_t>(CapsAre::listed) || count > kMostStructures) return nullptr;
  Own<GstCaps> caps(gst_caps_new_empty());
  for (uint32_t i = 0; i < count; ++i) {
    auto structure = get_structure(from, depth);
    auto features = structure && comparable(structure.get()) ? get_features(from) : nullptr;
    if (!features) return nullptr;
    gst_caps_append_structure_full(caps.get(), structure.release(), features.release());
  }
  return from.good() ? std::move(caps) : nullptr;
}

}  // namespace gstmmap
