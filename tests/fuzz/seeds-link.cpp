// Conversations for control.cpp and endpoint.cpp, and programs for half.cpp.
#include "lib/layout.h"
#include "lib/message.h"
#include "lib/ticket.h"
#include "tests/fuzz/half.h"
#include "tests/fuzz/link_input.h"
#include "tests/fuzz/seeds.h"

namespace fuzz {

namespace {

using namespace mmaplink;
using Out = std::vector<std::byte>;

// --- conversations ------------------------------------------------------------------------------

// In pieces of at most `most` bytes; the descriptors come with the first.
void say_bytes(Out& to, const Out& bytes, Kind kind = Kind::none, size_t most = 255) {
  for (size_t at = 0; at < bytes.size(); at += most) {
    const size_t size = std::min(most, bytes.size() - at);
    put(to, at == 0 ? kind : Kind::none);
    put(to, static_cast<uint8_t>(size));
    to.insert(to.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
              bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
  }
}

void say(Out& to, const Message& message, Kind kind = Kind::none, size_t most = 255) {
  say_bytes(to, build(message), kind, most);
}

Note note(uint32_t kind, size_t size) { return {kind, Out(size, std::byte{0x55})}; }

// All that a peer says in a life without accidents.
Out whole(const Message& greeting, size_t most) {
  Out out;
  say(out, greeting, Kind::half, most);
  say(out, Lanes{true, true}, Kind::none, most);
  say(out, ArenaMade{1, kPage}, Kind::page, most);
  say(out, ArenaMade{2, kArena}, Kind::arena, most);
  say(out, note(3, 40), Kind::none, most);
  say(out, Lanes{true, false}, Kind::none, most);
  say(out, ArenaRetired{2}, Kind::none, most);
  say(out, note(7, 1000), Kind::none, most);
  say(out, Refuse{"enough"}, Kind::none, most);
  return out;
}

// With a byte in front for endpoint.cpp: bit 0 tells a server from a client, `more` is of it, too.
void add_conversation(const Corpus& corpus, const std::string& name, const Out& as_client,
                      const Out& as_server, uint8_t more = 0) {
  corpus.add("control", name, as_client);
  for (const bool ours_is_client : {false, true})
    for (const uint8_t attached : {0, 2, 4}) {
      Out out;
      put(out, static_cast<uint8_t>(attached | more | (ours_is_client ? 1 : 0)));
      const Out& said = ours_is_client ? as_server : as_client;
      out.insert(out.end(), said.begin(), said.end());
      corpus.add("endpoint", name + std::to_string(ours_is_client) + std::to_string(attached), out);
    }
}

// Where nothing is mapped: items in parts, what was read of ours, what was withdrawn.
void add_inline(const Corpus& corpus) {
  const Wishes nothing{Wish::no, Wish::no};
  const auto part = [](Out& to, size_t size) {
    Out bytes = build(Part{static_cast<uint32_t>(size)});
    bytes.resize(bytes.size() + size, std::byte{0x55});
    say_bytes(to, bytes);
  };
  const auto begin = [](Out& to, uint64_t size, uint32_t extra, uint64_t ticket, bool droppable) {
    Descriptor descriptor;
    descriptor.size = size;
    descriptor.extra_size = extra;
    descriptor.ticket = ticket;
    say(to, ItemBegins{descriptor, droppable});
  };
  const auto both = [&](const std::string& name, const auto& rest) {
    Out client, server;
    say(client, Hello{kVersion, {true, true}, nothing});
    say(server, Welcome{kVersion, {true, true}, nothing, {false, false}});
    for (Out* to : {&client, &server}) {
      rest(*to);
      say(*to, Lanes{true, true});
    }
    add_conversation(corpus, "inline-" + name, client, server);
  };
  both("items", [&](Out& to) {
    begin(to, 0, 0, 0, false);
    begin(to, 100, 20, 1, true);
    part(to, 20);
    part(to, 100);
    say(to, Lanes{true, false});
    begin(to, 70'000, 0, 2, true);
    part(to, 70'000);
    say(to, Asks{});
  });
  both("memories", [&](Out& to) {
    begin(to, 10, sizeof(uint64_t) + sizeof(FurtherPlace), 1, true);
    Out bytes = build(Part{sizeof(uint64_t) + sizeof(FurtherPlace)});
    put(bytes, uint64_t{1});
    put(bytes, FurtherPlace{0, 7, 0, 0});
    say_bytes(to, bytes);
    part(to, 10);
    part(to, 7);
  });
  both("progress", [](Out& to) {
    say(to, Progress{0, true, {}});
    say(to, Progress{1, false, {1}});
  });
  both("withdrawn", [&](Out& to) {
    begin(to, 10, 0, 1, true);
    say(to, Withdrawn{});
    part(to, 10);
    begin(to, 0, 0, 2, false);
    say(to, Withdrawn{});
  });
  both("out-of-turn", [&](Out& to) {
    begin(to, 10, 0, 1, true);
    begin(to, 10, 0, 1, true);
  });
  both("too-many", [&](Out& to) {
    for (uint64_t i = 0; i < 40; ++i) begin(to, 0, 0, i, true);
  });
}

// Payload in the file that endpoint.cpp makes.
void add_in_file(const Corpus& corpus) {
  constexpr uint8_t kInFile = 8;
  constexpr size_t kFileSize = 5 * kPage;
  const Wishes path{Wish::path, Wish::path};
  // As a client said of the server's half, and the other way round.
  const auto both = [&](const std::string& name, uint64_t server_offset, uint64_t client_offset,
                        uint64_t size) {
    Out client, server;
    say(client, Hello{kVersion, {true, true}, path});
    say(client, RegionFound{});
    say(server,
        Welcome{
            kVersion, {true, true}, path, decide(path, path), {kFileSize, kPage, {}, false, {}}});
    for (const auto& [to, offset] : {std::pair(&client, server_offset), {&server, client_offset}}) {
      Descriptor descriptor;
      descriptor.size = size;
      descriptor.offset = offset;
      descriptor.ticket = 1;
      say(*to, ItemBegins{descriptor, true, true});
      say(*to, Lanes{true, true});
    }
    add_conversation(corpus, "file-" + name, client, server, kInFile);
  };
  both("good", 3 * kPage, kPage, 100);
  both("all", 3 * kPage, kPage, 2 * kPage);
  both("of-the-other", kPage, 3 * kPage, 100);
  both("too-much", 3 * kPage, kPage, 2 * kPage + 1);
  both("behind", ~uint64_t{0}, ~uint64_t{0}, 2);
}

void add_conversations(const Corpus& corpus) {
  const Hello hello{kVersion, {true, true}};
  const Welcome welcome{kVersion, {true, true}};
  for (const size_t most : {1, 5, 255})
    add_conversation(corpus, "whole-" + std::to_string(most), whole(hello, most),
                     whole(welcome, most));
  const auto both = [&](const std::string& name, const auto& rest, Kind half = Kind::half) {
    Out client, server;
    say(client, hello, half);
    say(server, welcome, half);
    rest(client);
    rest(server);
    add_conversation(corpus, name, client, server);
  };
  Out asks, tells;
  say(asks, StatusAsk{kVersion});
  say(tells, StatusPart{false, "{\"pid\":1"});
  say(tells, StatusPart{true, "}\n"});
  add_conversation(corpus, "status", asks, tells);
  both("twice", [&](Out& to) { say(to, hello, Kind::half); });
  for (uint8_t kind = 0; kind <= static_cast<uint8_t>(Kind::last); ++kind) {
    both(
        "half-" + std::to_string(kind), [](Out&) {}, Kind{kind});
    both("arena-" + std::to_string(kind), [&](Out& to) {
      say(to, ArenaMade{1, kPage}, Kind{kind});
    });
  }
  both("dmabuf", [](Out& to) { say(to, ArenaMade{1, kPage, true}, Kind::page); });
  both("many-descriptors", [](Out& to) {
    for (const unsigned count : {2u, 15u, 15u})
      say(to, note(1, 1), static_cast<Kind>(static_cast<unsigned>(Kind::null) | count << 4));
  });
  both("retired-twice", [](Out& to) {
    say(to, ArenaMade{1, kPage}, Kind::page);
    say(to, ArenaRetired{1});
    say(to, ArenaRetired{1});
  });
  both("made-twice", [](Out& to) {
    say(to, ArenaMade{1, kPage}, Kind::page);
    say(to, ArenaMade{1, kPage}, Kind::page);
  });
  add_inline(corpus);
  add_in_file(corpus);
  Out old_client, old_server;
  say(old_client, Hello{kVersion + 1, {}}, Kind::half);
  say(old_server, Welcome{kVersion + 1, {}}, Kind::half);
  add_conversation(corpus, "version", old_client, old_server);
}

// --- programs -----------------------------------------------------------------------------------

// Steps one after the other, each with what belongs to it.
class Program {
 public:
  Program& step(Step step, int times = 1) {
    for (int i = 0; i < times; ++i) put(bytes, step);
    return *this;
  }
  template <class T>
  Program& step(Step which, T value, int times = 1) {
    for (int i = 0; i < times; ++i) {
      put(bytes, which);
      put(bytes, value);
    }
    return *this;
  }
  Program& set(uint8_t word, uint64_t value) {
    step(Step::set_word, word);
    put(bytes, value);
    return *this;
  }
  Program& move(uint8_t word, int8_t by) {
    step(Step::move_word, word);
    put(bytes, by);
    return *this;
  }
  Out bytes;
};

// Places of words, as half.cpp has them.
constexpr uint8_t kHead = 0, kRevoked = 1, kClaimed = 2, kTaken = 3, kReceiptHead = 4,
                  kReaderWaiting = 8, kReceiptsWaiting = 9;
constexpr uint8_t kFrame = kDroppable | kHolds | kExtra;
constexpr uint8_t kEvent = kHolds | kExtra;
constexpr uint8_t kReadAll = kClaims | kTakes | kReturns;

Item item(ExtraFrom from, uint8_t extra_size) {
  return {1, static_cast<uint8_t>(from), extra_size, 0, 64, 512, 128, 3};
}

void add_programs(const Corpus& corpus) {
  const auto add = [&](const char* name, const Program& program) {
    corpus.add("half", name, program.bytes);
  };
  const Item plain = item(ExtraFrom::slot, 16);
  add("received", Program()
                      .step(Step::add_arena, uint8_t{1})
                      .step(Step::send, plain, 3)
                      .step(Step::send, item(ExtraFrom::before, 16))
                      .step(Step::send, item(ExtraFrom::block, 200))
                      .step(Step::take, 6)
                      .step(Step::wait)
                      .step(Step::give_back, 3)
                      .step(Step::retire_arena, uint8_t{1})
                      .step(Step::send, plain)
                      .step(Step::take)
                      .step(Step::wait));
  add("withdrawn", Program()
                       .step(Step::add_arena, uint8_t{1})
                       .step(Step::send, plain, 5)
                       .move(kRevoked, 3)
                       .step(Step::take, 4)
                       .set(kRevoked, 600)
                       .set(kHead, 1000)
                       .step(Step::take, 2)
                       .set(kRevoked, ~uint64_t{0})
                       .move(kHead, 100)
                       .step(Step::take));
  add("out-of-the-ring", Program().set(kHead, ~uint64_t{0}).step(Step::take).step(Step::wait));
  add("sent", Program()
                  .step(Step::publish, kFrame, 3)
                  .step(Step::publish, kEvent)
                  .step(Step::publish, uint8_t{kFrame | kMuchExtra})
                  .step(Step::publish, uint8_t{kFrame | kRepeats}, 2)
                  .step(Step::read, kReadAll, 4)
                  .step(Step::collect)
                  .step(Step::wait_for_room)
                  .step(Step::wait_for_memory)
                  .step(Step::read, uint8_t{kReadAll | kReturnsTwice})
                  .step(Step::collect));
  add("leaky", Program()
                   .step(Step::send_leaky, uint8_t{kFrame | kShortQueue}, 4)
                   .step(Step::read, uint8_t{kClaims})
                   .step(Step::send_leaky, uint8_t{kFrame | kShortQueue | kMuchExtra}, 3)
                   .step(Step::send_leaky, uint8_t{kFrame | kShortQueue | kUpstream}, 2)
                   .step(Step::read, uint8_t{kReadAll | kSkips}, 3)
                   .step(Step::collect));
  add("around-an-event", Program()
                             .step(Step::publish, kEvent)
                             .step(Step::publish, kFrame, 3)
                             .step(Step::withdraw_oldest, 2)
                             .step(Step::read, uint8_t{kClaims})
                             .step(Step::withdraw_oldest)
                             .step(Step::withdraw_all)
                             .step(Step::read, uint8_t{kTakes | kReturns | kSkips}, 4)
                             .step(Step::collect));
  add("left-and-back", Program()
                           .step(Step::publish, kFrame, 3)
                           .step(Step::leave)
                           .step(Step::publish, kFrame)
                           .step(Step::read, kReadAll, 2)
                           .step(Step::add)
                           .step(Step::publish, kFrame, 2));
  add("forged-receipts", Program()
                             .step(Step::publish, kFrame, 2)
                             .step(Step::set_receipt, make_ticket(0, 1))
                             .step(Step::set_receipt, make_ticket(1, 1) | kSkipped)
                             .step(Step::collect)
                             .step(Step::set_receipt, make_ticket(0, 1))
                             .step(Step::collect)
                             .step(Step::set_receipt, make_ticket(~0u, 1) | kSkipped)
                             .step(Step::collect)
                             .set(kReceiptHead, kReceipts + 5)
                             .step(Step::collect));
  add("forged-indices", Program()
                            .step(Step::publish, kFrame, 4)
                            .set(kTaken, 3)
                            .set(kClaimed, 2)
                            .step(Step::withdraw_oldest)
                            .set(kClaimed, ~uint64_t{0})
                            .step(Step::withdraw_all)
                            .step(Step::publish, uint8_t{kFrame | kShortQueue})
                            .step(Step::wait_for_room));
  add("says-it-waits", Program()
                           .set(kReaderWaiting, 1)
                           .set(kReceiptsWaiting, 1)
                           .step(Step::publish, kFrame)
                           .step(Step::add_arena, uint8_t{1})
                           .step(Step::send, plain)
                           .step(Step::take)
                           .step(Step::give_back)
                           .step(Step::wait_for_memory));
  Program full;
  for (int i = 0; i < 520; ++i) full.step(Step::publish, i % 3 == 0 ? kEvent : kFrame);
  add("full", full.step(Step::withdraw_oldest).step(Step::withdraw_all));
}

}  // namespace

void add_links(const Corpus& corpus) {
  add_conversations(corpus);
  add_programs(corpus);
}

}  // namespace fuzz
