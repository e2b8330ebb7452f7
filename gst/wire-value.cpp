#include "gst/wire-value.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gst/wire-value-kinds.h"

namespace gstmmap {

namespace {

const GValue* first_of(const GValue* value) {
  if (GST_VALUE_HOLDS_LIST(value))
    return gst_value_list_get_size(value) > 0 ? gst_value_list_get_value(value, 0) : nullptr;
  return gst_value_array_get_size(value) > 0 ? gst_value_array_get_value(value, 0) : nullptr;
}

// What all that is in a list has to agree on, GStreamer asserts: a number and a range of such
// numbers do. G_TYPE_INVALID agrees with all.
GType basic_type(const GValue* value) {
  while (value != nullptr && (GST_VALUE_HOLDS_LIST(value) || GST_VALUE_HOLDS_ARRAY(value)))
    value = first_of(value);
  if (value == nullptr) return G_TYPE_INVALID;
  if (GST_VALUE_HOLDS_INT_RANGE(value)) return G_TYPE_INT;
  if (GST_VALUE_HOLDS_INT64_RANGE(value)) return G_TYPE_INT64;
  if (GST_VALUE_HOLDS_DOUBLE_RANGE(value)) return G_TYPE_DOUBLE;
  if (GST_VALUE_HOLDS_FRACTION_RANGE(value)) return GST_TYPE_FRACTION;
  return G_VALUE_TYPE(value);
}

template <guint (*size)(const GValue*), const GValue* (*at)(const GValue*, guint),
          void (*append)(GValue*, GValue*)>
ValueKind list(GType type) {
  return {type,
          [](const GValue* value, BytesOut& to, int depth) {
            const guint count = size(value);
            to.put(count);
            for (guint i = 0; i < count; ++i)
              if (is_absent(at(value, i)) || !put_value(at(value, i), to, depth)) return false;
            return true;
          },
          [](BytesIn& from, GValue* value, GType as, int depth) {
            g_value_init(value, as);
            const auto count = from.get<guint>();
            for (guint i = 0; i < count; ++i) {
              GValue element = G_VALUE_INIT;
              bool good = get_value(from, &element, depth) && !is_absent(&element);
              const GType all = basic_type(value);
              const GType one = good ? basic_type(&element) : G_TYPE_INVALID;
              good = good && (all == one || all == G_TYPE_INVALID || one == G_TYPE_INVALID);
              if (!good) {
                g_value_unset(&element);
                return false;
              }
              append(value, &element);
            }
            return true;
          }};
}

// A value says which it is by its place in here.
const std::vector<ValueKind>& kinds() {
  static const auto all = [] {
    std::vector<ValueKind> made;
    for (const auto some : {number_kinds(), pointer_kinds()})
      made.insert(made.end(), some.begin(), some.end());
    made.push_back(list<gst_value_list_get_size, gst_value_list_get_value,
                        gst_value_list_append_and_take_value>(GST_TYPE_LIST));
    made.push_back(list<gst_value_array_get_size, gst_value_array_get_value,
                        gst_value_array_append_and_take_value>(GST_TYPE_ARRAY));
    return made;
  }();
  return all;
}

}  // namespace

bool is_absent(const GValue* value) {
  return !GST_VALUE_HOLDS_LIST(value) && !GST_VALUE_HOLDS_ARRAY(value) &&
         g_value_fits_pointer(value) && g_value_peek_pointer(value) == nullptr;
}

bool put_value(const GValue* value, BytesOut& to, int depth) {
  const GType type = G_VALUE_TYPE(value);
  const GType family = G_TYPE_FUNDAMENTAL(type);
  const auto kind = std::ranges::find_if(kinds(), [&](const ValueKind& one) {
    return one.type == type || (one.type == family && family != G_TYPE_BOXED);
  });
  if (kind == kinds().end() || depth == 0) return false;
  to.put(static_cast<uint8_t>(kind - kinds().begin()));
  return kind->put(value, to, depth - 1);
}

bool get_value(BytesIn& from, GValue* value, int depth) {
  const size_t place = from.get<uint8_t>();
  if (!from.good() || place >= kinds().size() || depth == 0) return false;
  const ValueKind& kind = kinds()[place];
  return kind.get(from, value, kind.type, depth - 1) && from.good();
}

}  // namespace gstmmap
