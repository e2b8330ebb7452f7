// What an mmapsink's readers are asked: questions of upstream and of the application, to all of
// them at once. Any thread, which is kept waiting within bounds.
#include <algorithm>
#include <array>
#include <utility>

#include "elements/proposal.h"
#include "elements/sink.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_sink_debug);
#define GST_CAT_DEFAULT gst_mmap_sink_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Deadline;
using mmaplink::Side;

namespace {

constexpr auto kSlice = std::chrono::seconds(1);
// That one of several readers may add to what is shown on this side.
constexpr GstClockTime kMostLatency = GST_SECOND;

}  // namespace

// Asks all of them at once. One of several is not waited for as long as one that is alone.
Sink::Answers Sink::ask(const Readers::List& readers, const std::function<Question()>& make) {
  struct Asked {
    Readers::One reader;
    Question query;
    uint32_t id;
    bool is_sent;
  };
  const auto begin = Clock::now();
  const bool is_alone = readers_.count() <= 1;
  const auto timeout = std::chrono::nanoseconds(active_.query_timeout);
  const Deadline until = begin + (is_alone ? timeout : patience_.left(timeout));
  std::vector<Asked> all;
  for (const auto& reader : readers) {
    const Question query = make();
    const auto question = encode_question(query.get());
    // One that did not answer is asked again when it has said anything.
    if (!question || reader->silent) continue;
    const uint32_t id = exchange_.open(reader->link);
    const bool is_sent = send_question(*reader, query.get(), with_id(id, *question), until);
    all.push_back({reader, query, id, is_sent});
  }
  const auto given_up = [this] { return is_flushing(); };
  Answers answers;
  for (const Asked& asked : all) {
    const auto left = asked.is_sent ? until - Clock::now() : std::chrono::nanoseconds::zero();
    const auto answer = exchange_.wait(asked.id, left, given_up);
    if (take_answer(*asked.reader, answer, asked.query.get()))
      answers.push_back({asked.reader, asked.query});
  }
  if (!is_alone) patience_.spend(Clock::now() - begin);
  return answers;
}

bool Sink::send_question(Reader& reader, GstQuery* query, Exchange::Bytes bytes, Deadline until) {
  if (!GST_QUERY_IS_SERIALIZED(query))
    return exchange_.tell(reader.link, Notice::query, std::move(bytes));
  return send_stickies(reader) &&
         send_item(reader, Item::query, bytes, until) == mmaplink::Sender::Published::yes;
}

// False where no answer came in time, or none that makes sense.
bool Sink::take_answer(Reader& reader, const std::optional<Exchange::Answer>& answer,
                       GstQuery* query) {
  if (answer) return answer->good && decode_answer(answer->bytes, query);
  if (!is_flushing() && reader.link->alive()) {
    GST_WARNING_OBJECT(element_, "%s did not answer a %s query within query-timeout",
                       mmaplink::name_of(reader.link->peer()).c_str(), GST_QUERY_TYPE_NAME(query));
    reader.silent = true;
  }
  return false;
}

// The same by the worker, which waits for nobody. Takes the query; `then` gets it with its answer,
// or nothing.
void Sink::ask_then(const Readers::One& reader, GstQuery* query,
                    std::function<void(GstQuery*)> then) {
  const Question kept = own(query);
  const auto question = encode_question(query);
  if (!question) return then(nullptr);
  exchange_.ask_then(reader->link, Notice::query, *question,
                     std::chrono::nanoseconds(active_.query_timeout),
                     [this, reader, kept, then = std::move(then)](const auto& answer) {
                       then(take_answer(*reader, answer, kept.get()) ? kept.get() : nullptr);
                     });
}

// Until there is somebody to ask, where nothing is sent without one; over a two-way link also for
// whom it comes back to, but for query-timeout at most: whoever asks may be who starts that one.
// False: to nobody any more.
bool Sink::wait_for_reader() const {
  std::optional<Deadline> until;
  for (;;) {
    const auto sender = any_sender();
    if (!sender) return false;
    const uint32_t seen = sender->kick().value();
    if (is_flushing()) return true;
    const auto now = Clock::now();
    // A server that does not wait goes on with whoever is there.
    if (num_clients() > 0 || !(is_client() || active_.wait_for_connection)) {
      if (is_client() ? has_ready_server() : !is_greeting_its_client()) return true;
      if (!until) until = now + std::chrono::nanoseconds(active_.query_timeout);
      if (now >= *until) return true;
    }
    if (is_held_off()) return false;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ != GST_FLOW_OK) return false;
    }
    const std::array words{sender->kick().word(seen)};
    mmaplink::wait_any(words, std::min<Deadline>(until.value_or(Deadline::max()), now + kSlice));
  }
}

bool Sink::query(GstQuery* query) {
  if (GST_QUERY_IS_SERIALIZED(query)) has_preroll_lock_ = false;
  if (GST_QUERY_TYPE(query) == GST_QUERY_ACCEPT_CAPS) return accept_caps(query);
  if (GST_QUERY_TYPE(query) == GST_QUERY_SEEKING) return query_seeking(query);
  const auto readers = readers_.all();
  // All have to drain; of other questions the first answer counts.
  if (GST_QUERY_TYPE(query) == GST_QUERY_DRAIN)
    return readers.empty() || !ask(readers, [] { return own(gst_query_new_drain()); }).empty();
  const auto same = [query] { return Question(query, [](GstQuery*) {}); };
  return std::any_of(readers.begin(), readers.end(),
                     [&](const auto& reader) { return !ask({reader}, same).empty(); });
}

// A muxer asks before it sends anything, and goes back to what it has written only where all who
// get it can. Who does not answer can't.
bool Sink::query_seeking(GstQuery* query) {
  wait_for_reader();
  const auto readers = readers_.all();
  GstFormat format{};
  gst_query_parse_seeking(query, &format, nullptr, nullptr, nullptr);
  const auto answers = ask(readers, [format] { return own(gst_query_new_seeking(format)); });
  if (readers.empty() || answers.empty()) return false;
  bool all = answers.size() == readers.size();
  gint64 start = 0;
  gint64 end = -1;
  for (const auto& [reader, answer] : answers) {
    gboolean seekable = FALSE;
    gint64 from = 0;
    gint64 to = -1;
    gst_query_parse_seeking(answer.get(), nullptr, &seekable, &from, &to);
    all = all && seekable;
    start = std::max(start, from);
    if (end < 0 || (to >= 0 && to < end)) end = to;
  }
  gst_query_set_seeking(query, format, static_cast<gboolean>(all), start, end);
  return true;
}

// Whether the stream's caps are chosen with this one in mind: new_caps() asks the others.
bool Sink::has_decided(const Reader& reader) const {
  return is_client() || reader.decides || reader.has_stickies;
}

// One reader that does not like them has an error of its own, and one that does not answer minds
// nothing.
bool Sink::accept_caps(GstQuery* query) {
  GstCaps* caps = nullptr;
  gst_query_parse_accept_caps(query, &caps);
  auto readers = readers_.all();
  std::erase_if(readers,
                [this](const auto& reader) { return !reader->suits || !has_decided(*reader); });
  const auto answers = ask(readers, [caps] { return own(gst_query_new_accept_caps(caps)); });
  const bool any = std::any_of(answers.begin(), answers.end(), [](const Answered& one) {
    gboolean accepts = FALSE;
    gst_query_parse_accept_caps_result(one.query.get(), &accepts);
    return accepts;
  });
  gst_query_set_accept_caps_result(
      query, static_cast<gboolean>(any || readers.empty() || answers.size() < readers.size()));
  return true;
}

// What all take. A reader that takes nothing of what those before it do is not followed.
GstCaps* Sink::readers_caps(GstCaps* filter) {
  GstCaps* all = filter != nullptr ? gst_caps_ref(filter) : gst_caps_new_any();
  auto readers = readers_.all();
  std::erase_if(readers, [](const auto& reader) { return !reader->suits; });
  for (const auto& reader : readers) reader->decides = true;
  for (const auto& [reader, query] :
       ask(readers, [filter] { return own(gst_query_new_caps(filter)); })) {
    GstCaps* caps = nullptr;
    gst_query_parse_caps_result(query.get(), &caps);
    if (caps == nullptr) continue;
    GstCaps* both = gst_caps_intersect_full(caps, all, GST_CAPS_INTERSECT_FIRST);
    if (gst_caps_is_empty(both) && num_clients() > 1)
      GST_WARNING_OBJECT(element_, "%s takes nothing that the other readers take",
                         mmaplink::name_of(reader->link->peer()).c_str());
    else if (!gst_caps_is_strictly_equal(both, all))  // some encoders compare the pointers
      gst_caps_replace(&all, both);
    gst_caps_unref(both);
  }
  return all;
}

GstCaps* Sink::caps(GstCaps* filter) {
  if (wait_for_reader()) return readers_caps(filter);
  return filter != nullptr ? gst_caps_ref(filter) : gst_caps_new_any();
}

// What the readers' downstream wants, as far as they say in time.
void Sink::propose_allocation(GstQuery* query) {
  has_preroll_lock_ = false;
  GstCaps* caps = nullptr;
  gboolean need_pool = FALSE;
  gst_query_parse_allocation(query, &caps, &need_pool);
  if (allocator_ == nullptr) return;
  Needs needs;
  if (caps != nullptr && (!is_client() || wait_ready() == GST_FLOW_OK)) {
    const auto make = [&] { return own(gst_query_new_allocation(caps, need_pool)); };
    for (const auto& answered : ask(readers_.all(), make)) needs.add(answered.query.get());
  }
  answer_allocation(query, sender_, allocator_, needs, active_.udmabuf);
}

// --- latency: the application's thread
// ------------------------------------------------------------

// A transport that does not wait for the clock adds nothing here, but its readers' pipelines do, so
// that all of this pipeline waits for the same instant. Where packets come back the pipeline has
// sinks behind them, which answer for that.
bool Sink::query_latency(GstQuery* query) {
  latency_told_ = false;
  if (!gst_pad_peer_query(pad(), query)) return false;
  gboolean live = FALSE;
  GstClockTime min = 0;
  GstClockTime max = GST_CLOCK_TIME_NONE;
  gst_query_parse_latency(query, &live, &min, &max);
  if (const auto endpoint = any_endpoint(); endpoint && !endpoint->is_attached(Side::src)) {
    const auto readers = readers_.all();
    for (const auto& reader : readers) {
      const GstClockTime latency = reader->latency;
      min = std::max(min, readers.size() > 1 ? std::min(latency, kMostLatency) : latency);
    }
  }
  if (GST_CLOCK_TIME_IS_VALID(max)) max = std::max(min, max);
  gst_query_set_latency(query, live, min, max);
  return true;
}

void Sink::set_latency(GstEvent* event) {
  GstClockTime latency = 0;
  gst_event_parse_latency(event, &latency);
  if (own_latency_.exchange(latency) == latency) return;
  for (const auto& reader : readers_.all()) exchange_.tell(reader->link, Notice::latency, {});
}

}  // namespace gstmmap
