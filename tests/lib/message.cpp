// Control messages: what goes in comes out, and nothing that a peer could send instead does harm.
#include "lib/message.h"

#include <cstring>

#include "lib/layout.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint32_t kHello = 1;
constexpr size_t kHelloSize = 8 + 5 * 4 + 8;  // without a request
constexpr uint32_t kLanes = 4;

Bytes bytes_of(const std::string& text) {
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

// A message put together by hand: header, and words of 32 bits.
Bytes raw(uint32_t type, const std::vector<uint32_t>& words) {
  std::vector<uint32_t> all{static_cast<uint32_t>(8 + 4 * words.size()), type};
  all.insert(all.end(), words.begin(), words.end());
  const auto bytes = std::as_bytes(std::span(all));
  return {bytes.begin(), bytes.end()};
}

const std::vector<Message>& one_of_each() {
  static const std::vector<Message> list{
      Hello{kVersion, {true, false}},
      Welcome{kVersion, {false, true}},
      Refuse{"serving another client, process 4711"},
      Lanes{true, true},
      ArenaMade{0xfedcba98, 0x123456789abcdef0},
      ArenaRetired{0xffffffff},
      Note{7, bytes_of(std::string("a\0b", 3))},
      ItemBegins{Descriptor{.sequence = 3, .size = 5}, true},
      Progress{7, true, {1, 2, 3}},
      Withdrawn{},
      Asks{},
      RegionFound{Token{1, 2, 3}},
      StatusAsk{kVersion},
      StatusPart{true, "{}\n"},
  };
  return list;
}

bool same(const Message& one, const Message& other) {
  return one.index() == other.index() && build(one) == build(other);
}

void round_trip() {
  for (const Message& message : one_of_each()) {
    const Bytes bytes = build(message);
    const auto size = must(message_size(bytes));
    g_assert_true(size && *size == bytes.size());
    g_assert_true(same(must(parse(bytes)), message));
  }
}

void fields_arrive() {
  const auto trip = [](const Message& message) { return must(parse(build(message))); };
  for (const bool sends : {false, true})
    for (const bool receives : {false, true}) {
      const Lanes lanes{sends, receives};
      const auto hello = std::get<Hello>(trip(Hello{kVersion, lanes, {}, 7, "jpeg"}));
      g_assert_cmpuint(hello.now, ==, 7);
      g_assert_cmpstr(hello.request.c_str(), ==, "jpeg");
      g_assert_true(hello.lanes == lanes && hello.version == kVersion);
      const auto welcome = std::get<Welcome>(trip(Welcome{kVersion, lanes}));
      g_assert_true(welcome.lanes == lanes && welcome.version == kVersion);
      g_assert_true(std::get<Lanes>(trip(lanes)) == lanes);
    }
  const auto made = std::get<ArenaMade>(trip(ArenaMade{3, uint64_t{5} << 40, true}));
  g_assert_true(made.number == 3 && made.size == uint64_t{5} << 40 && made.is_dmabuf);
  g_assert_cmpuint(std::get<ArenaRetired>(trip(ArenaRetired{12})).number, ==, 12);
  const auto note = std::get<Note>(trip(Note{~0u, bytes_of("x")}));
  g_assert_true(note.kind == ~0u && note.bytes == bytes_of("x"));
  g_assert_true(std::get<Note>(trip(Note{1, {}})).bytes.empty());
  g_assert_true(std::get<Refuse>(trip(Refuse{""})).text.empty());
  const auto item = std::get<ItemBegins>(trip(ItemBegins{Descriptor{.ticket = 9}, true}));
  g_assert_true(item.descriptor.ticket == 9 && item.droppable);
  g_assert_true(!item.in_place);
  g_assert_true(std::get<ItemBegins>(trip(ItemBegins{{}, false, true})).in_place);
  const auto full = std::get<ItemBegins>(trip(ItemBegins{{}, false, false, 4, true}));
  g_assert_true(full.together == 4 && full.is_full);
  const RegionTerms terms{uint64_t{7} << 40, 4096, Token{1}, true, Token{2}};
  const auto region = std::get<Welcome>(
      trip(Welcome{kVersion, {}, {Wish::path, Wish::path}, Mapped{false, false, true}, terms}));
  g_assert_true(region.mapped.in_file && region.wishes.send == Wish::path);
  g_assert_true(region.region.size == terms.size && region.region.page == terms.page &&
                region.region.token == terms.token && region.region.in_directory &&
                region.region.name == terms.name);
  g_assert_true(std::get<RegionFound>(trip(RegionFound{Token{9}})).token == Token{9});
  const auto progress = std::get<Progress>(trip(Progress{8, true, {6, 5}}));
  g_assert_true(progress.claimed == 8 && progress.waits);
  g_assert_cmpuint(std::get<StatusAsk>(trip(StatusAsk{9})).version, ==, 9);
  const auto part = std::get<StatusPart>(trip(StatusPart{true, std::string("a\0\n", 3)}));
  g_assert_true(part.last && part.text == std::string("a\0\n", 3));
  g_assert_true(!std::get<StatusPart>(trip(StatusPart{})).last);
  g_assert_true(progress.tickets == (std::vector<uint64_t>{6, 5}));
}

void descriptors_come_with_three_kinds() {
  for (const Message& message : one_of_each()) {
    const bool expected = std::holds_alternative<Hello>(message) ||
                          std::holds_alternative<Welcome>(message) ||
                          std::holds_alternative<ArenaMade>(message);
    g_assert_true(carries_fd(message) == expected);
  }
}

void size_is_known_with_the_header() {
  const Bytes bytes = build(Note{1, Bytes(1000)});
  for (size_t length = 0; length <= bytes.size(); ++length) {
    const auto size = must(message_size(std::span(bytes).first(length)));
    g_assert_true(size.has_value() == (length >= kMessageHeader));
    if (size) g_assert_cmpuint(*size, ==, bytes.size());
  }
}

void impossible_sizes_are_refused() {
  Bytes header(8);
  const auto size_of = [&](uint32_t size) {
    std::memcpy(header.data(), &size, sizeof size);
    return message_size(header);
  };
  for (const uint32_t size : {0u, 1u, 7u, static_cast<uint32_t>(kMaxMessage) + 1, 0x7fffffffu, ~0u})
    g_assert_true(fails(size_of(size), Failure::protocol,
                        "a control message of " + std::to_string(size) + " bytes"));
  for (const uint32_t size : {8u, static_cast<uint32_t>(kMaxMessage)})
    g_assert_cmpuint(must(size_of(size)).value(), ==, size);
  // Of a part the bytes go elsewhere, and may be more.
  header = build(Part{});
  g_assert_cmpuint(must(size_of(kMessageHeader + kMostPart)).value(), >, kMaxMessage);
  g_assert_true(fails(size_of(kMessageHeader + kMostPart + 1), Failure::protocol,
                      "a control message of 1048585 bytes"));
}

// Cut anywhere a message is refused, but for texts and bytes, which may have any length.
void cut_messages_are_refused() {
  for (const Message& message : one_of_each()) {
    const Bytes bytes = build(message);
    if (std::holds_alternative<Progress>(message)) continue;  // tickets are cut whole
    const size_t fixed =
        std::holds_alternative<Refuse>(message)  ? 8
        : std::holds_alternative<Hello>(message) ? kHelloSize
        : std::holds_alternative<Note>(message) || std::holds_alternative<StatusPart>(message)
            ? 12
            : bytes.size();
    for (size_t length = 0; length < bytes.size(); ++length) {
      const auto got = parse(std::span(bytes).first(length));
      if (length < 8)
        g_assert_true(fails(got, Failure::protocol, ""));
      else if (length < fixed)
        g_assert_true(!got && got.error().failure == Failure::protocol);
      else
        g_assert_true(static_cast<bool>(got));
    }
  }
}

void longer_messages_are_refused() {
  for (const Message& message : one_of_each()) {
    if (std::holds_alternative<Refuse>(message) || std::holds_alternative<Note>(message) ||
        std::holds_alternative<StatusPart>(message) || std::holds_alternative<Progress>(message) ||
        std::holds_alternative<Hello>(message))
      continue;
    Bytes bytes = build(message);
    for (int i = 0; i < 9; ++i) {
      bytes.push_back(std::byte{0});
      g_assert_true(
          fails(parse(bytes), Failure::protocol, "a control message of the wrong length"));
    }
  }
}

void a_request_has_a_size_at_most() {
  const auto with = [](size_t size) {
    return parse(build(Hello{kVersion, {}, {}, 0, std::string(size, 'x')}));
  };
  g_assert_cmpuint(std::get<Hello>(must(with(kMostRequest))).request.size(), ==, kMostRequest);
  g_assert_true(fails(with(kMostRequest + 1), Failure::protocol, "too long a request"));
}

void unknown_types_are_refused() {
  for (const uint32_t type : {0u, 16u, 17u, 0x01000000u, ~0u})
    g_assert_true(fails(parse(raw(type, {1, 2, 3})), Failure::protocol,
                        "a control message of an unknown type"));
}

// Only its number is understood of another version: it may have more, or less, behind it.
void another_version_is_read_as_far_as_its_number() {
  for (const uint32_t type : {kHello, kHello + 1})
    for (const auto& rest : {std::vector<uint32_t>{}, {3}, {99, 98, 97}}) {
      std::vector<uint32_t> words{kMagic, kVersion + 1};
      words.insert(words.end(), rest.begin(), rest.end());
      const Message message = must(parse(raw(type, words)));
      const auto* hello = std::get_if<Hello>(&message);
      const auto* welcome = std::get_if<Welcome>(&message);
      g_assert_true((hello != nullptr) == (type == kHello));
      g_assert_cmpuint(hello ? hello->version : welcome->version, ==, kVersion + 1);
      g_assert_true((hello ? hello->lanes : welcome->lanes) == Lanes{});
    }
}

void another_byte_order_is_refused() {
  for (const uint32_t magic : {__builtin_bswap32(kMagic), 0u, kMagic + 1})
    g_assert_true(fails(parse(raw(kHello, {magic, kVersion, 0})), Failure::protocol,
                        "the peer does not speak this protocol"));
  // Before the magic is looked at, a size in the other order is too large already.
  Bytes bytes = raw(kHello, {__builtin_bswap32(kMagic), kVersion, 0});
  std::reverse(bytes.begin(), bytes.begin() + 4);
  g_assert_true(fails(message_size(bytes), Failure::protocol, "a control message of "));
}

void unknown_lanes_are_refused() {
  for (const uint32_t bits : {4u, 8u, 0x80000000u, ~0u}) {
    g_assert_true(fails(parse(raw(kLanes, {bits})), Failure::protocol, ""));
    g_assert_true(fails(parse(raw(kHello, {kMagic, kVersion, bits})), Failure::protocol, ""));
  }
}

// A person reads it, maybe on a terminal.
void refusals_are_printable_and_short() {
  const auto shown = [](const std::string& text) {
    return std::get<Refuse>(must(parse(build(Refuse{text})))).text;
  };
  g_assert_true(shown("ok ~") == "ok ~");
  g_assert_true(shown("\x1b[2J\n\x7f\xc3\xa4") == "?[2J????");
  g_assert_cmpuint(shown(std::string("a\0b", 3)).size(), ==, 3);
  g_assert_cmpuint(shown(std::string(60000, 'x')).size(), ==, 500);
}

// Garbage is an error, or a message that is as valid as any.
void random_bytes_do_no_harm() {
  Random random;
  const auto check = [](const Bytes& bytes) {
    (void)message_size(bytes);
    auto got = parse(bytes);
    if (!got) {
      g_assert_true(got.error().failure == Failure::protocol && !got.error().text.empty());
      return;
    }
    // The bytes of a part are not the message's.
    if (!std::holds_alternative<Part>(*got)) g_assert_true(same(must(parse(build(*got))), *got));
  };
  for (int i = 0; i < 100000; ++i) {
    Bytes bytes(random.below(40));
    for (auto& byte : bytes) byte = static_cast<std::byte>(random.below(256));
    // Most of them with a type that goes somewhere.
    if (bytes.size() >= 8 && !random.one_in(8)) {
      const uint32_t type = random.below(16);
      std::memcpy(bytes.data() + 4, &type, sizeof type);
    }
    if (bytes.size() >= 12 && random.one_in(2)) std::memcpy(bytes.data() + 8, &kMagic, 4);
    check(bytes);
  }
  // Good messages with a few bits turned.
  for (int i = 0; i < 100000; ++i) {
    Bytes bytes = build(one_of_each()[random.below(static_cast<uint32_t>(one_of_each().size()))]);
    for (uint32_t flips = 1 + random.below(3); flips > 0; --flips)
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] ^= std::byte{1} << random.below(8);
    check(bytes);
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/message/round-trip", round_trip},
                  {"/message/fields-arrive", fields_arrive},
                  {"/message/descriptors-come-with-three-kinds", descriptors_come_with_three_kinds},
                  {"/message/size-is-known-with-the-header", size_is_known_with_the_header},
                  {"/message/impossible-sizes-are-refused", impossible_sizes_are_refused},
                  {"/message/cut-messages-are-refused", cut_messages_are_refused},
                  {"/message/longer-messages-are-refused", longer_messages_are_refused},
                  {"/message/a-request-has-a-size-at-most", a_request_has_a_size_at_most},
                  {"/message/unknown-types-are-refused", unknown_types_are_refused},
                  {"/message/another-version-is-read-as-far-as-its-number",
                   another_version_is_read_as_far_as_its_number},
                  {"/message/another-byte-order-is-refused", another_byte_order_is_refused},
                  {"/message/unknown-lanes-are-refused", unknown_lanes_are_refused},
                  {"/message/refusals-are-printable-and-short", refusals_are_printable_and_short},
                  {"/message/random-bytes-do-no-harm", random_bytes_do_no_harm}});
}
