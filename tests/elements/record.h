// All that goes through a pad, as lines of text that two runs of the same stream have in common.
//
// What is left out or said in other words has its place and its reason in docs/crossing.md.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tests/elements/support.h"

namespace test {

class Record {
 public:
  // Of the sink pad of that element.
  Record(const Pipeline& pipeline, const char* element);
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;
  ~Record();
  // What went through, and then the answers.
  std::vector<std::string> lines() const;
  size_t count(const std::string& beginning) const;  // of them that begin so
  // The group-ids of the streams, each once, as they came.
  std::vector<guint> groups() const;
  // What the pipeline answers to those who ask it now, each a line.
  void ask(const Pipeline& pipeline);

 private:
  void add(std::string line);
  // The how many-th group it is, 0 being none.
  size_t number_of_group(guint group);
  // Other than the last of its kind.
  bool is_news(const std::string& line);
  static GstPadProbeReturn see(GstPad* pad, GstPadProbeInfo* info, gpointer self);

  std::atomic<bool> counts_time_{false};
  mutable std::mutex mutex_;
  std::map<std::string, std::string> last_;
  std::vector<guint> groups_;
  std::vector<std::string> lines_;
  std::vector<std::string> answers_;
  GstPad* pad_;  // owned
  gulong probe_;
};

// Of a buffer, each behind a blank: names, and what those say whose kind is known.
std::string text_of_metas(GstBuffer* buffer);

// A text of GLib's, which is freed.
std::string taken(gchar* text);

// Fails the test where they differ, and shows where.
void check_same(const std::vector<std::string>& whole, const std::vector<std::string>& cut,
                const std::string& name);

}  // namespace test
