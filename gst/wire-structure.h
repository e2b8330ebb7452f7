// GstStructure and GstCaps as bytes, value by value.
//
// Not as GStreamer's own text: its parser asserts, warns, overflows the stack and reads freed
// memory on text that nobody but a hostile peer would write. What is put is checked like what is
// got, so that nothing leaves which the other side would refuse.
#pragma once

#include <gst/gst.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gst/bytes.h"

namespace gstmmap {

struct Release {
  void operator()(GstStructure* structure) const { gst_structure_free(structure); }
  void operator()(GstCaps* caps) const { gst_caps_unref(caps); }
  void operator()(GstCapsFeatures* features) const { gst_caps_features_free(features); }
  void operator()(GstDateTime* time) const { gst_date_time_unref(time); }
  void operator()(GDateTime* time) const { g_date_time_unref(time); }
};
template <class T>
using Own = std::unique_ptr<T, Release>;

// All that may go with a buffer.
inline constexpr size_t kMostBytes = 16 << 20;
// How deep structures and lists go into one another.
inline constexpr int kDeepest = 16;

// Of flags those that this GStreamer knows: an enum of C++ can't hold others, and GObject minds
// them.
template <class Flags, GType (*type)()>
Flags known_flags(uint32_t bits) {
  static const auto* const known = static_cast<GFlagsClass*>(g_type_class_ref(type()));
  return static_cast<Flags>(bits & known->mask);
}

// Each put_…() is false where something can't cross, and may have written a part of it by then;
// each get_…() is empty where the bytes are none that put_…() writes.

bool put_bytes(std::span<const std::byte> bytes, BytesOut& to);
std::span<const std::byte> get_bytes(BytesIn& from);
// A buffer with a copy of them. Transfer full.
GstBuffer* buffer_with(std::span<const std::byte> bytes);

// UTF-8, of any length.
bool put_text(const char* text, BytesOut& to);
std::optional<std::string> get_text(BytesIn& from);

// Text that becomes a GQuark, as the names of structures and fields do before GStreamer 1.26. GLib
// never frees one: they are short, and peers get only so many new ones in the life of a process.
bool put_name(const char* name, BytesOut& to);
const char* get_name(BytesIn& from);
// A name that GStreamer makes up of what a peer sent, kept as one that a peer sent; null where it
// may not be.
const char* keep_name(const std::string& name);
// GStreamer's own rules for one, which it asserts, and not too long.
bool is_structure_name(std::string_view name);

// To the microsecond; the time zone as an offset, since its name is that of a file to be read.
bool put_date_time(GDateTime* time, BytesOut& to);
Own<GDateTime> get_date_time(BytesIn& from);

bool put_structure(const GstStructure* structure, BytesOut& to, int depth = kDeepest);
Own<GstStructure> get_structure(BytesIn& from, int depth = kDeepest);

// What is in a structure, without its name.
bool put_fields(const GstStructure* structure, BytesOut& to, int depth = kDeepest);
bool get_fields(BytesIn& from, GstStructure* structure, int depth = kDeepest);

bool put_caps(GstCaps* caps, BytesOut& to, int depth = kDeepest);
Own<GstCaps> get_caps(BytesIn& from, int depth = kDeepest);

}  // namespace gstmmap
