// Numbers, ranges of them, and those that have names.
#include <array>
#include <cstdint>
#include <memory>

#include "gst/wire-structure.h"
#include "gst/wire-value-kinds.h"

namespace gstmmap {

namespace {

// --- plain numbers ------------------------------------------------------------------------------

void set_boolean(GValue* value, gboolean is) { g_value_set_boolean(value, is != FALSE); }

template <class T, T (*read)(const GValue*), void (*write)(GValue*, T)>
ValueKind number(GType type) {
  return {type,
          [](const GValue* value, BytesOut& to, int) {
            to.put(read(value));
            return true;
          },
          [](BytesIn& from, GValue* value, GType as, int) {
            g_value_init(value, as);
            write(value, from.get<T>());
            return true;
          }};
}

struct Fraction {
  int32_t numerator, denominator;
  // As it is once GStreamer has reduced it.
  bool sound() const { return denominator > 0 && numerator >= -G_MAXINT; }
};

Fraction fraction_of(const GValue* value) {
  return {gst_value_get_fraction_numerator(value), gst_value_get_fraction_denominator(value)};
}

bool put_fraction(const GValue* value, BytesOut& to, int) {
  to.put(fraction_of(value));
  return true;
}

bool get_fraction(BytesIn& from, GValue* value, GType type, int) {
  const auto fraction = from.get<Fraction>();
  if (!fraction.sound()) return false;
  g_value_init(value, type);
  gst_value_set_fraction(value, fraction.numerator, fraction.denominator);
  return true;
}

// --- ranges: one that was never set has no extent, which GStreamer asserts ----------------------

template <class T>
struct Steps {
  T low, high, step;
  bool sound() const { return low < high && step > 0 && low % step == 0 && high % step == 0; }
};

template <class T, T (*low)(const GValue*), T (*high)(const GValue*), T (*step)(const GValue*),
          void (*write)(GValue*, T, T, T)>
ValueKind range(GType type) {
  return {type,
          [](const GValue* value, BytesOut& to, int) {
            const Steps<T> steps{low(value), high(value), step(value)};
            to.put(steps);
            return steps.sound();
          },
          [](BytesIn& from, GValue* value, GType as, int) {
            const auto steps = from.get<Steps<T>>();
            if (!steps.sound()) return false;
            g_value_init(value, as);
            write(value, steps.low, steps.high, steps.step);
            return true;
          }};
}

struct DoubleRange {
  double low, high;
};

bool put_double_range(const GValue* value, BytesOut& to, int) {
  const DoubleRange range{gst_value_get_double_range_min(value),
                          gst_value_get_double_range_max(value)};
  to.put(range);
  return range.low < range.high;
}

bool get_double_range(BytesIn& from, GValue* value, GType type, int) {
  const auto range = from.get<DoubleRange>();
  if (!(range.low < range.high)) return false;
  g_value_init(value, type);
  gst_value_set_double_range(value, range.low, range.high);
  return true;
}

struct FractionRange {
  Fraction low, high;
  bool sound() const {
    return low.sound() && high.sound() &&
           int64_t{low.numerator} * high.denominator < int64_t{high.numerator} * low.denominator;
  }
};

bool put_fraction_range(const GValue* value, BytesOut& to, int) {
  const GValue* low = gst_value_get_fraction_range_min(value);
  const GValue* high = gst_value_get_fraction_range_max(value);
  if (low == nullptr || high == nullptr) return false;
  const FractionRange range{fraction_of(low), fraction_of(high)};
  to.put(range);
  return range.sound();
}

bool get_fraction_range(BytesIn& from, GValue* value, GType type, int) {
  const auto range = from.get<FractionRange>();
  if (!range.sound()) return false;
  g_value_init(value, type);
  gst_value_set_fraction_range_full(value, range.low.numerator, range.low.denominator,
                                    range.high.numerator, range.high.denominator);
  return true;
}

// --- numbers with names: plain ones where this process does not know the type, or the number -----

GType type_of(BytesIn& from, GType family) {
  const auto name = get_text(from);
  const GType type = name ? g_type_from_name(name->c_str()) : G_TYPE_INVALID;
  return g_type_is_a(type, family) && type != family ? type : G_TYPE_INVALID;
}

struct ReleaseClass {
  void operator()(gpointer type_class) const { g_type_class_unref(type_class); }
};
template <class T>
std::unique_ptr<T, ReleaseClass> class_of(GType type) {
  return std::unique_ptr<T, ReleaseClass>(static_cast<T*>(g_type_class_ref(type)));
}

bool put_enum(const GValue* value, BytesOut& to, int) {
  const bool put = put_text(G_VALUE_TYPE_NAME(value), to);
  to.put(g_value_get_enum(value));
  return put;
}

bool get_enum(BytesIn& from, GValue* value, GType family, int) {
  const GType type = type_of(from, family);
  const auto number = from.get<gint>();
  if (type != G_TYPE_INVALID && g_enum_get_value(class_of<GEnumClass>(type).get(), number)) {
    g_value_init(value, type);
    g_value_set_enum(value, number);
  } else {
    g_value_init(value, G_TYPE_INT);
    g_value_set_int(value, number);
  }
  return true;
}

bool put_flags(const GValue* value, BytesOut& to, int) {
  const bool put = put_text(G_VALUE_TYPE_NAME(value), to);
  to.put(g_value_get_flags(value));
  return put;
}

bool get_flags(BytesIn& from, GValue* value, GType family, int) {
  const GType type = type_of(from, family);
  const auto number = from.get<guint>();
  if (type != G_TYPE_INVALID && (number & ~class_of<GFlagsClass>(type)->mask) == 0) {
    g_value_init(value, type);
    g_value_set_flags(value, number);
  } else {
    g_value_init(value, G_TYPE_UINT);
    g_value_set_uint(value, number);
  }
  return true;
}

struct FlagSet {
  uint32_t flags, mask;
};

bool put_flag_set(const GValue* value, BytesOut& to, int) {
  const bool put = put_text(G_VALUE_TYPE_NAME(value), to);
  to.put(FlagSet{gst_value_get_flagset_flags(value), gst_value_get_flagset_mask(value)});
  return put;
}

bool get_flag_set(BytesIn& from, GValue* value, GType family, int) {
  const GType type = type_of(from, family);
  const auto set = from.get<FlagSet>();
  g_value_init(value, type != G_TYPE_INVALID ? type : family);
  gst_value_set_flagset(value, set.flags, set.mask);
  return true;
}

}  // namespace

std::span<const ValueKind> number_kinds() {
  static const auto kinds = std::to_array<ValueKind>({
      number<gboolean, g_value_get_boolean, set_boolean>(G_TYPE_BOOLEAN),
      number<gint8, g_value_get_schar, g_value_set_schar>(G_TYPE_CHAR),
      number<guchar, g_value_get_uchar, g_value_set_uchar>(G_TYPE_UCHAR),
      number<gint, g_value_get_int, g_value_set_int>(G_TYPE_INT),
      number<guint, g_value_get_uint, g_value_set_uint>(G_TYPE_UINT),
      number<glong, g_value_get_long, g_value_set_long>(G_TYPE_LONG),
      number<gulong, g_value_get_ulong, g_value_set_ulong>(G_TYPE_ULONG),
      number<gint64, g_value_get_int64, g_value_set_int64>(G_TYPE_INT64),
      number<guint64, g_value_get_uint64, g_value_set_uint64>(G_TYPE_UINT64),
      number<gfloat, g_value_get_float, g_value_set_float>(G_TYPE_FLOAT),
      number<gdouble, g_value_get_double, g_value_set_double>(G_TYPE_DOUBLE),
      number<guint64, gst_value_get_bitmask, gst_value_set_bitmask>(GST_TYPE_BITMASK),
      {GST_TYPE_FRACTION, put_fraction, get_fraction},
      range<gint, gst_value_get_int_range_min, gst_value_get_int_range_max,
            gst_value_get_int_range_step, gst_value_set_int_range_step>(GST_TYPE_INT_RANGE),
      range<gint64, gst_value_get_int64_range_min, gst_value_get_int64_range_max,
            gst_value_get_int64_range_step, gst_value_set_int64_range_step>(GST_TYPE_INT64_RANGE),
      {GST_TYPE_DOUBLE_RANGE, put_double_range, get_double_range},
      {GST_TYPE_FRACTION_RANGE, put_fraction_range, get_fraction_range},
      {G_TYPE_ENUM, put_enum, get_enum},
      {G_TYPE_FLAGS, put_flags, get_flags},
      {GST_TYPE_FLAG_SET, put_flag_set, get_flag_set},
  });
  return kinds;
}

}  // namespace gstmmap
