// Sticky events with names of a peer's choice, which each pad keeps by name for as long as it is
// active: so many of one sender, and so many of all that come one after the other.
//
// Owned by a source, used by its streaming thread.
#pragma once

#include <gst/gst.h>

#include <cstddef>
#include <map>

namespace gstmmap {

class Stickies {
 public:
  enum class Take { yes, no, never };

  // Another source's run; another sender.
  void begin() { *this = {}; }
  void begin_sender() { of_sender_ = {}; }

  // Whether it may go on, where it takes `size` bytes: not where pads have enough of others, and
  // never of a sender that has sent too many.
  Take take(GstEvent* event, size_t size) {
    const GstEventType type = GST_EVENT_TYPE(event);
    if (type != GST_EVENT_CUSTOM_DOWNSTREAM_STICKY && type != GST_EVENT_PROTECTION &&
        type != GST_EVENT_SINK_MESSAGE)
      return Take::yes;
    const GQuark name = gst_structure_get_name_id(gst_event_get_structure(event));
    if (!of_sender_.take(name, size, 64, 16 << 20)) return Take::never;
    return all_.take(name, size, 1024, 64 << 20) ? Take::yes : Take::no;
  }

 private:
  struct Kept {
    std::map<GQuark, size_t> sizes;
    size_t bytes = 0;
    // The newest of a name takes the place of the one before.
    bool take(GQuark name, size_t size, size_t most, size_t most_bytes) {
      const auto had = sizes.find(name);
      const size_t others = bytes - (had != sizes.end() ? had->second : 0);
      if (others + size > most_bytes || (had == sizes.end() && sizes.size() == most)) return false;
      sizes[name] = size;
      bytes = others + size;
      return true;
    }
  };
  Kept of_sender_, all_;
};

}  // namespace gstmmap
