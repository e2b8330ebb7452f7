// How the values of each type go as bytes, for wire-value.cpp.
#pragma once

#include <gst/gst.h>

#include <span>

#include "gst/bytes.h"

namespace gstmmap {

struct ValueKind {
  GType type;
  bool (*put)(const GValue* value, BytesOut& to, int depth);
  // Gives the value its type, as a rule this one.
  bool (*get)(BytesIn& from, GValue* value, GType type, int depth);
};

std::span<const ValueKind> number_kinds();
std::span<const ValueKind> pointer_kinds();

}  // namespace gstmmap
