/* The one header an application includes: <gst/mmap/mmap.h>. */
#pragma once

#include "gstmmapmemory.h"
#include "gstmmapserver.h"
