// Plays a case whole and cut, and compares the records.
#include <algorithm>
#include <map>

#include "tests/elements/cut.h"

namespace test::cut {

namespace {

using Chain = std::vector<std::string>;

std::string in(const std::string& directory, const std::string& line) {
  std::string all;
  for (const char letter : line) all += letter == '@' ? directory : std::string(1, letter);
  return all;
}

std::string joined(const Chain& chain, size_t from, size_t to) {
  std::string line;
  for (size_t i = from; i < to; ++i) line += " ! " + chain[i];
  return line;
}

std::string end(const Case& what, size_t chain) {
  if (!what.tail.empty()) return " ! join." + what.pads[chain] + " ";
  return " ! " + what.sink + " " + (what.is_live ? "sync=true " : "") + "name=end" +
         std::to_string(chain) + " ";
}

Lines ends(const Pipeline& pipeline) {
  Lines names;
  for (;;) {
    const std::string name = "end" + std::to_string(names.size());
    if (!has(pipeline, name)) return names;
    names.push_back(name);
  }
}

std::string link(size_t chain) { return " socket-path=@/link" + std::to_string(chain) + " "; }

// The date of a file that was written in this run, and the number that a track has in it.
void leave_run_out(std::string& line) {
  const size_t from = line.find(" datetime=");
  if (from != std::string::npos) line.erase(from, line.find_first_of(",;", from) - from);
  const size_t id = line.find(" id /");
  if (id != std::string::npos) line.erase(std::min(line.find(':', id), line.size()));
}

// Another base time is another running time for the same instant, and each link adds a millisecond
// to the latency of a live pipeline. The rest of a line is the same.
void to_live(std::string& line, guint64 links) {
  if (line.starts_with("segment ")) {
    const size_t from = line.find(" base ");
    line.erase(from, line.find(" start ") - from);
  }
  const std::string field = "min-latency=(guint64)";
  if (line.starts_with("answer latency") && contains(line, "live=(boolean)true")) {
    const size_t from = line.find(field) + field.size();
    const size_t size = line.find(',', from) - from;
    const GstClockTime whole = std::stoull(line.substr(from, size)) - links * GST_MSECOND;
    line.replace(from, size, std::to_string(whole));
  }
}

// Which of the streams are of one group, whatever that is called.
std::string groups_of(const std::vector<std::unique_ptr<Record>>& records) {
  std::map<guint, size_t> numbers;
  std::string all = "groups";
  for (const auto& record : records) {
    for (const guint group : record->groups())
      all += " " + std::to_string(numbers.emplace(group, numbers.size()).first->second);
    all += ";";
  }
  return all;
}

// To the end of the stream, or of the segment: what came to each of the sinks. Between a near half,
// if there is one, and them lie so many links.
std::vector<Lines> play(const Case& what, const Pipeline& pipeline,
                        const std::function<Near()>& start, guint64 links) {
  std::vector<std::unique_ptr<Record>> records;
  for (const auto& name : ends(pipeline))
    records.push_back(std::make_unique<Record>(pipeline, name.c_str()));
  const auto ask = [&] {
    for (const auto& record : records) record->ask(pipeline);
  };
  Near near;
  if (what.is_live) {
    // Nothing comes before it plays, and for a muxer nothing was before its running time 0.
    pipeline.play();
    if (start) near = start();
  } else {
    // A client sends nothing before what it has in READY can take what comes back.
    fail_unless(pipeline.set(GST_STATE_READY) == GST_STATE_CHANGE_SUCCESS);
    if (start) near = start();
    fail_unless(pipeline.set(GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE);
    const auto done = static_cast<GstMessageType>(GST_MESSAGE_ASYNC_DONE | GST_MESSAGE_ERROR);
    const auto message = pipeline.wait(done);
    if (GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR)
      ck_abort_msg("%s", text_of(message.get()).c_str());
    ask();
    if (what.scenario) what.scenario(pipeline);
  }
  pipeline.play();
  const auto ends = pipeline.wait(
      static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_SEGMENT_DONE | GST_MESSAGE_ERROR));
  if (GST_MESSAGE_TYPE(ends.get()) == GST_MESSAGE_ERROR)
    ck_abort_msg("%s", text_of(ends.get()).c_str());
  // Who seeks says so when it has sent the last of it.
  if (GST_MESSAGE_TYPE(ends.get()) == GST_MESSAGE_SEGMENT_DONE)
    for (const auto& record : records)
      fail_unless(becomes([&] { return record->count("segment-done") == what.segments; }));
  ask();
  // What still comes is seen by nobody.
  pipeline.stop();
  std::vector<Lines> all;
  for (const auto& record : records) {
    all.push_back(record->lines());
    for (auto& line : all.back()) {
      if (what.is_written_anew) leave_run_out(line);
      if (what.is_live) to_live(line, links);
    }
  }
  all.front().push_back(groups_of(records));
  return all;
}

std::string keeps_time(const Case& what) { return what.is_live ? "" : " is-live=false"; }

std::string sending(const Case& what, size_t place, const std::string& directory,
                    const std::string& properties) {
  std::string line;
  for (size_t i = 0; i < what.chains.size(); ++i)
    line += joined(what.chains[i], 0, place).substr(3) + " ! mmapsink " + properties +
            " name=near" + std::to_string(i) + link(i);
  return in(directory, line);
}

std::vector<Lines> play_whole(const Case& what, const std::string& directory) {
  for (const auto& film : what.films) {
    const Pipeline make(in(directory, film));
    if (what.prepare) what.prepare(make);
    make.play();
    make.wait_eos();
  }
  const Pipeline pipeline(whole_line(what, directory));
  if (what.prepare) what.prepare(pipeline);
  auto whole = play(what, pipeline, {}, 0);
  for (const auto& lines : whole) fail_unless(lines.size() > 10);
  return whole;
}

std::vector<Lines> play_cut(const Case& what, const std::string& line,
                            const std::function<Near()>& start, guint64 links) {
  const Pipeline far(line);
  if (what.prepare) what.prepare(far);
  return play(what, far, start, links);
}

void check_same(const std::vector<Lines>& whole, const std::vector<Lines>& cut, const Case& what,
                const std::string& how) {
  for (size_t i = 0; i < whole.size(); ++i)
    test::check_same(whole[i], cut[i],
                     std::string(what.name) + ", " + how + ", end " + std::to_string(i));
}

}  // namespace

bool has(const Pipeline& pipeline, const std::string& element) {
  return Ref<GstElement>(gst_bin_get_by_name(GST_BIN(pipeline.get()), element.c_str())) != nullptr;
}

std::vector<size_t> all_places(const Case& what) {
  size_t last = what.chains.front().size();
  for (const auto& chain : what.chains) last = std::min(last, chain.size());
  std::vector<size_t> places;
  for (size_t place = what.first; place <= last; ++place) places.push_back(place);
  return places;
}

size_t middle_place(const Case& what) {
  const auto places = all_places(what);
  return places[places.size() / 2];
}

std::string whole_line(const Case& what, const std::string& directory) {
  std::string line;
  for (size_t i = 0; i < what.chains.size(); ++i)
    line += joined(what.chains[i], 0, what.chains[i].size()).substr(3) + end(what, i);
  return in(directory, line + what.tail);
}

std::string near_line(const Case& what, size_t place, const std::string& directory) {
  return sending(what, place, directory, "wait-for-connection=true");
}

std::string client_line(const Case& what, size_t place, const std::string& directory) {
  // However slow all is, caps are to be chosen by all that they come to.
  return sending(what, place, directory, "role=client query-timeout=20000000000");
}

std::string server_line(const Case& what, size_t place, const std::string& directory) {
  std::string line;
  for (size_t i = 0; i < what.chains.size(); ++i)
    line += "mmapsrc role=server mmap=yes" + keeps_time(what) + link(i) + " ! " +
            what.chains[i][place] + " ! mmapsink" + link(i);
  return in(directory, line);
}

std::string far_line(const Case& what, size_t place, const std::string& directory) {
  std::string line;
  for (size_t i = 0; i < what.chains.size(); ++i)
    line += "mmapsrc name=far" + std::to_string(i) + keeps_time(what) + link(i) +
            joined(what.chains[i], place, what.chains[i].size()) + end(what, i);
  return in(directory, line + what.tail);
}

void check(const Case& what, const std::string& directory, const std::vector<size_t>& places,
           const Start& start) {
  const auto whole = play_whole(what, directory);
  for (const size_t place : places)
    check_same(whole,
               play_cut(
                   what, far_line(what, place, directory), [&] { return start(place); }, 1),
               what, "cut behind " + what.chains.front()[place - 1]);
}

void check_back(const Case& what, const std::string& directory, const Start& start) {
  const auto whole = play_whole(what, directory);
  auto places = all_places(what);
  places.pop_back();
  for (const size_t place : places)
    check_same(whole,
               play_cut(
                   what, far_line(what, place + 1, directory), [&] { return start(place); }, 2),
               what, "with a server for " + what.chains.front()[place]);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> table;
    for (const auto part : {media_cases, text_cases, file_cases, live_cases})
      for (auto& one : part()) table.push_back(std::move(one));
    return table;
  }();
  return all;
}

Tests::Tests(TFun function) {
  for (size_t i = 0; i < cases().size(); ++i)
    Registered(cases()[i].name, function, static_cast<int>(i));
}

}  // namespace test::cut
