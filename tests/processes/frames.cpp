#include "tests/processes/frames.h"

#include <cstring>

namespace test {

namespace {

// Words 0 and 1 are the maker and the number, and each further word follows from both.
guint64 word_of(guint64 maker, guint64 number, gsize index) {
  if (index == 0) return maker;
  if (index == 1) return number;
  guint64 mixed = (maker << 40) + (number << 16) + index;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  return mixed ^ (mixed >> 27);
}

guint64 word_at(const GstMapInfo& map, gsize index) {
  guint64 word = 0;
  std::memcpy(&word, map.data + index * sizeof word, sizeof word);
  return word;
}

}  // namespace

Marker::Marker(GstElement* element, guint64 maker)
    : pad_(gst_element_get_static_pad(element, "src")),
      maker_(maker),
      probe_(gst_pad_add_probe(pad_.get(), GST_PAD_PROBE_TYPE_BUFFER, write, this, nullptr)) {}

Marker::~Marker() { gst_pad_remove_probe(pad_.get(), probe_); }

GstPadProbeReturn Marker::write(GstPad*, GstPadProbeInfo* info, gpointer data) {
  auto& self = *static_cast<Marker*>(data);
  GstBuffer* buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
  GST_PAD_PROBE_INFO_DATA(info) = buffer;
  const guint64 number = self.count_++;
  GST_BUFFER_OFFSET(buffer) = number;
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_WRITE)) return GST_PAD_PROBE_DROP;
  for (gsize i = 0; i < map.size / sizeof(guint64); ++i) {
    const guint64 word = word_of(self.maker_, number, i);
    std::memcpy(map.data + i * sizeof word, &word, sizeof word);
  }
  gst_buffer_unmap(buffer, &map);
  if (self.on_frame) self.on_frame(number);
  return GST_PAD_PROBE_OK;
}

Checker::Checker(GstElement* element, guint64 maker)
    : pad_(gst_element_get_static_pad(element, "sink")),
      wanted_maker_(maker),
      probe_(gst_pad_add_probe(pad_.get(),
                               static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER |
                                                            GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM),
                               see, this, nullptr)) {}

Checker::~Checker() { gst_pad_remove_probe(pad_.get(), probe_); }

GstPadProbeReturn Checker::see(GstPad*, GstPadProbeInfo* info, gpointer data) {
  auto& self = *static_cast<Checker*>(data);
  if ((info->type & GST_PAD_PROBE_TYPE_BUFFER) != 0) {
    self.look(GST_PAD_PROBE_INFO_BUFFER(info));
  } else if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_STREAM_START) {
    ++self.streams_;
    self.maker_ = 0;
    self.last_.reset();
  }
  return GST_PAD_PROBE_OK;
}

void Checker::look(GstBuffer* buffer) {
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return complain("a frame that can't be read");
  const gsize words = map.size / sizeof(guint64);
  const guint64 number = GST_BUFFER_OFFSET(buffer);
  const std::string name = "frame " + std::to_string(number);
  if (words < 2) {
    complain(name + " is too short");
  } else {
    const guint64 maker = word_at(map, 0);
    if (maker_ == 0) maker_ = maker;
    if (maker != maker_ || (wanted_maker_ != 0 && maker != wanted_maker_))
      complain(name + " is of maker " + std::to_string(maker) + ", not " +
               std::to_string(wanted_maker_ != 0 ? wanted_maker_ : maker_));
    for (gsize i = 1; i < words; ++i) {
      if (word_at(map, i) == word_of(maker, number, i)) continue;
      complain(name + " differs at word " + std::to_string(i));
      break;
    }
  }
  gst_buffer_unmap(buffer, &map);
  if (last_ && number != *last_ + 1) {
    ++gaps_;
    if (number <= *last_ || !GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DISCONT))
      complain(name + " follows frame " + std::to_string(*last_));
  }
  last_ = number;
  const guint64 count = ++count_;
  if (on_frame) on_frame(count);
}

void Checker::complain(const std::string& text) {
  {
    const std::lock_guard lock(mutex_);
    if (fault_.empty()) fault_ = text;
  }
  if (on_fault) on_fault(text);
}

std::string Checker::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

void Checker::wait_more(guint64 frames) const {
  const guint64 now = count_;
  fail_unless(becomes([&] { return count_ >= now + frames; }),
              "%" G_GUINT64_FORMAT " frames came, not %" G_GUINT64_FORMAT, count_ - now, frames);
}

}  // namespace test
