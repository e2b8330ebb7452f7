// What a callback of GLib's or GStreamer's was given to keep.
#pragma once

#include <glib.h>

namespace gstmmap {

// GLib drops it when nobody calls any more, by whichever thread that is. By this name, for
// ThreadSanitizer, which does not see how GLib orders that (tests/tsan.supp).
template <class Kept>
void let_go(gpointer kept) {
  delete static_cast<Kept*>(kept);
}

}  // namespace gstmmap
