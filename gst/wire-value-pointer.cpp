// Values that may be absent: text, bytes, dates, and structures and caps within structures.
#include <array>
#include <cmath>
#include <cstdint>

#include "gst/wire-structure.h"
#include "gst/wire-value-kinds.h"

namespace gstmmap {

namespace {

template <class T>
const T* boxed(const GValue* value) {
  return static_cast<const T*>(g_value_get_boxed(value));
}

// Of a type whose values are pointers: `put` and `get` see only those that are there.
template <bool (*put_present)(const GValue*, BytesOut&, int),
          bool (*get_present)(BytesIn&, GValue*, int)>
ValueKind pointer(GType type) {
  return {type,
          [](const GValue* value, BytesOut& to, int depth) {
            const bool present = g_value_peek_pointer(value) != nullptr;
            to.put(uint8_t{present});
            return !present || put_present(value, to, depth);
          },
          [](BytesIn& from, GValue* value, GType as, int depth) {
            const bool present = from.get<uint8_t>() != 0;
            g_value_init(value, as);
            return !present || get_present(from, value, depth);
          }};
}

bool put_string(const GValue* value, BytesOut& to, int) {
  return put_text(g_value_get_string(value), to);
}

bool get_string(BytesIn& from, GValue* value, int) {
  const auto text = get_text(from);
  if (text) g_value_set_string(value, text->c_str());
  return text.has_value();
}

bool put_gbytes(const GValue* value, BytesOut& to, int) {
  gsize size = 0;
  const void* data = g_bytes_get_data(static_cast<GBytes*>(g_value_get_boxed(value)), &size);
  return put_bytes({static_cast<const std::byte*>(data), size}, to);
}

bool get_gbytes(BytesIn& from, GValue* value, int) {
  const auto bytes = get_bytes(from);
  g_value_take_boxed(value, g_bytes_new(bytes.data(), bytes.size()));
  return true;
}

// Its bytes alone, as in GStreamer's text.
bool put_buffer(const GValue* value, BytesOut& to, int) {
  GstMapInfo map;
  GstBuffer* buffer = gst_value_get_buffer(value);
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return false;
  const bool put = put_bytes(std::as_bytes(std::span(map.data, map.size)), to);
  gst_buffer_unmap(buffer, &map);
  return put;
}

bool get_buffer(BytesIn& from, GValue* value, int) {
  gst_value_take_buffer(value, buffer_with(get_bytes(from)));
  return true;
}

// There has to be one: GStreamer neither compares nor prints what is none.
bool put_structure_value(const GValue* value, BytesOut& to, int depth) {
  return put_structure(gst_value_get_structure(value), to, depth);
}

bool get_structure_value(BytesIn& from, GValue* value, GType type, int depth) {
  auto structure = get_structure(from, depth);
  g_value_init(value, type);
  const bool got = structure != nullptr;
  g_value_take_boxed(value, structure.release());
  return got;
}

bool put_caps_value(const GValue* value, BytesOut& to, int depth) {
  return put_caps(const_cast<GstCaps*>(gst_value_get_caps(value)), to, depth);
}

bool get_caps_value(BytesIn& from, GValue* value, int depth) {
  auto caps = get_caps(from, depth);
  const bool got = caps != nullptr;
  g_value_take_boxed(value, caps.release());
  return got;
}

// --- dates --------------------------------------------------------------------------------------

constexpr uint32_t kLastDay = 3652059;  // 9999-12-31

bool put_date(const GValue* value, BytesOut& to, int) {
  const auto* date = boxed<GDate>(value);
  if (!g_date_valid(date) || g_date_get_julian(date) > kLastDay) return false;
  to.put(g_date_get_julian(date));
  return true;
}

bool get_date(BytesIn& from, GValue* value, int) {
  const auto day = from.get<uint32_t>();
  if (day == 0 || day > kLastDay) return false;
  g_value_take_boxed(value, g_date_new_julian(day));
  return true;
}

bool put_g_date_time(const GValue* value, BytesOut& to, int) {
  return put_date_time(static_cast<GDateTime*>(g_value_get_boxed(value)), to);
}

bool get_g_date_time(BytesIn& from, GValue* value, int) {
  auto time = get_date_time(from);
  const bool got = time != nullptr;
  g_value_take_boxed(value, time.release());
  return got;
}

// -1 for what is not known.
struct DateTime {
  int32_t year, month, day, hour, minute, zone_minutes;
  double seconds;
  // GStreamer checks the rest of it.
  bool sound() const {
    return zone_minutes >= -12 * 60 && zone_minutes <= 12 * 60 && std::isfinite(seconds);
  }
};

bool put_gst_date_time(const GValue* value, BytesOut& to, int) {
  const auto* from = boxed<GstDateTime>(value);
  DateTime time{gst_date_time_get_year(from), -1, -1, -1, -1, 0, -1.0};
  if (gst_date_time_has_month(from)) time.month = gst_date_time_get_month(from);
  if (gst_date_time_has_day(from)) time.day = gst_date_time_get_day(from);
  if (gst_date_time_has_time(from)) {
    time.hour = gst_date_time_get_hour(from);
    time.minute = gst_date_time_get_minute(from);
    time.zone_minutes =
        static_cast<int32_t>(std::lround(gst_date_time_get_time_zone_offset(from) * 60));
  }
  if (gst_date_time_has_second(from))
    time.seconds = gst_date_time_get_second(from) + gst_date_time_get_microsecond(from) / 1e6;
  to.put(time);
  return time.sound();
}

// GStreamer leaves out what is behind the point once it has minutes again, and 1.1666 hours come
// out as 69 of them.
float zone_hours(int32_t minutes) {
  const float rest = minutes % 60 == 0 ? 0.0F : minutes > 0 ? 0.1F : -0.1F;
  return (static_cast<float>(minutes) + rest) / 60.0F;
}

bool get_gst_date_time(BytesIn& from, GValue* value, int) {
  const auto time = from.get<DateTime>();
  if (!time.sound()) return false;
  Own<GstDateTime> made(gst_date_time_new(zone_hours(time.zone_minutes), time.year, time.month,
                                          time.day, time.hour, time.minute, time.seconds));
  const bool got = made != nullptr;
  g_value_take_boxed(value, made.release());
  return got;
}

}  // namespace

std::span<const ValueKind> pointer_kinds() {
  static const auto kinds = std::to_array<ValueKind>({
      pointer<put_string, get_string>(G_TYPE_STRING),
      pointer<put_gbytes, get_gbytes>(G_TYPE_BYTES),
      pointer<put_buffer, get_buffer>(GST_TYPE_BUFFER),
      {GST_TYPE_STRUCTURE, put_structure_value, get_structure_value},
      pointer<put_caps_value, get_caps_value>(GST_TYPE_CAPS),
      pointer<put_date, get_date>(G_TYPE_DATE),
      pointer<put_g_date_time, get_g_date_time>(G_TYPE_DATE_TIME),
      pointer<put_gst_date_time, get_gst_date_time>(GST_TYPE_DATE_TIME),
  });
  return kinds;
}

}  // namespace gstmmap
