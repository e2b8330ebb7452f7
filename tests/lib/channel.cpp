// A control connection: messages come whole, in order and with their descriptors, however the
// socket cuts them; and a peer with bad manners costs no more than a few buffers.
#include "lib/channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <thread>

#include "lib/layout.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Bytes = std::vector<std::byte>;

struct Received {
  std::vector<Message> messages;
  std::vector<Fd> fds;  // as many; empty where none came
  Result<bool> open = true;
};

void receive_more(Channel& channel, Received& into) {
  into.open = channel.receive([&](Channel::Received received) {
    into.messages.push_back(std::move(received.message));
    into.fds.push_back(std::move(received.fd));
    return true;
  });
}

Received receive_all(Channel& channel) {
  Received got;
  receive_more(channel, got);
  return got;
}

// As a peer would that builds its messages itself.
void send_raw(const Fd& socket, std::span<const std::byte> bytes,
              const std::vector<int>& fds = {}) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(sizeof(int) * fds.size()));
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  g_assert_cmpint(sendmsg(socket.get(), &header, MSG_NOSIGNAL), ==,
                  static_cast<ssize_t>(bytes.size()));
}

Fd some_file() { return Fd(memfd_create("other", MFD_CLOEXEC)); }

bool same_file(int one, int other) {
  struct stat a {};
  struct stat b {};
  return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

Note note_of(uint32_t kind, size_t size) {
  return {kind, Bytes(size, static_cast<std::byte>(kind))};
}

uint32_t kind_of(const Message& message) { return std::get<Note>(message).kind; }

void messages_arrive_in_order() {
  SocketPair sockets;
  Channel from(std::move(sockets.a));
  Channel to(std::move(sockets.b));
  g_assert_true(receive_all(to).messages.empty());
  for (uint32_t i = 0; i < 100; ++i) must(from.send(note_of(i, i)));
  g_assert_false(from.wants_to_write());
  const Received got = receive_all(to);
  g_assert_true(must(got.open));
  g_assert_cmpuint(got.messages.size(), ==, 100);
  for (uint32_t i = 0; i < 100; ++i) g_assert_cmpuint(kind_of(got.messages[i]), ==, i);
}

void descriptors_arrive_with_their_message() {
  SocketPair sockets;
  Channel from(std::move(sockets.a));
  Channel to(std::move(sockets.b));
  const Fd first = some_file();
  const Fd second = some_file();
  must(from.send(Hello{kVersion, {}}, first.get()));
  must(from.send(Lanes{}));
  must(from.send(ArenaMade{1, 4096}, second.get()));
  must(from.send(Note{}));
  const Received got = receive_all(to);
  g_assert_cmpuint(got.messages.size(), ==, 4);
  g_assert_true(same_file(got.fds[0].get(), first.get()));
  g_assert_true(same_file(got.fds[2].get(), second.get()));
  g_assert_false(static_cast<bool>(got.fds[1]) || static_cast<bool>(got.fds[3]));
  for (const int i : {0, 2})
    g_assert_cmpint(fcntl(got.fds[static_cast<size_t>(i)].get(), F_GETFD), ==, FD_CLOEXEC);
}

void arrives_byte_by_byte() {
  SocketPair sockets;
  Channel to(std::move(sockets.b));
  const Fd file = some_file();
  Received got;
  size_t expected = 0;
  for (const Message& message : {Message(Hello{kVersion, {}}), Message(note_of(3, 20)),
                                 Message(ArenaMade{1, 4096}), Message(Lanes{})}) {
    const Bytes bytes = build(message);
    for (size_t i = 0; i < bytes.size(); ++i) {
      g_assert_cmpuint(got.messages.size(), ==, expected);
      const bool with_fd = i == 0 && carries_fd(message);
      send_raw(sockets.a, std::span(bytes).subspan(i, 1),
               with_fd ? std::vector{file.get()} : std::vector<int>{});
      receive_more(to, got);
      g_assert_true(must(got.open));
    }
    g_assert_cmpuint(got.messages.size(), ==, ++expected);
    g_assert_true(got.messages.back().index() == message.index());
    g_assert_true(static_cast<bool>(got.fds.back()) == carries_fd(message));
  }
}

// A socket that takes little at a time: the rest is kept, and goes out with flush().
void partial_writes_go_on() {
  SocketPair sockets;
  const int least = 1;
  setsockopt(sockets.a.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
  Channel from(std::move(sockets.a));
  Channel to(std::move(sockets.b));
  const Fd file = some_file();
  const auto keep = std::make_shared<int>();
  Random random;
  constexpr uint32_t kMany = 200;
  for (uint32_t i = 0; i < kMany; ++i) {
    if (i % 4 == 0)
      must(from.send(ArenaMade{i, 4096}, file.get(), keep));
    else
      must(from.send(note_of(i, random.below(9000))));
  }
  g_assert_true(from.wants_to_write());
  g_assert_cmpint(keep.use_count(), >, 1);  // owns the descriptor until it is sent
  Received got;
  for (uint32_t rounds = 0; got.messages.size() < kMany; ++rounds) {
    g_assert_cmpuint(rounds, <, 100000);
    receive_more(to, got);
    g_assert_true(must(got.open));
    must(from.flush());
  }
  g_assert_false(from.wants_to_write());
  g_assert_cmpint(keep.use_count(), ==, 1);
  for (uint32_t i = 0; i < kMany; ++i) {
    if (i % 4 == 0) {
      g_assert_cmpuint(std::get<ArenaMade>(got.messages[i]).number, ==, i);
      g_assert_true(same_file(got.fds[i].get(), file.get()));
    } else {
      const auto& note = std::get<Note>(got.messages[i]);
      g_assert_cmpuint(note.kind, ==, i);
      for (const std::byte byte : note.bytes) g_assert_true(byte == static_cast<std::byte>(i));
    }
  }
}

void a_missing_descriptor_is_an_error() {
  for (const Message& message : {Message(Hello{kVersion, {}}), Message(Welcome{kVersion, {}}),
                                 Message(ArenaMade{1, 4096})}) {
    SocketPair sockets;
    Channel to(std::move(sockets.b));
    send_raw(sockets.a, build(message));
    g_assert_true(fails(receive_all(to).open, Failure::protocol,
                        "a control message came without its descriptor"));
  }
}

// With a message that carries none, one more than it carries, and two before it is complete.
void descriptors_nobody_asked_for_are_an_error() {
  const Fd file = some_file();
  const Bytes note = build(note_of(1, 100));
  const Bytes made = build(ArenaMade{1, 4096});
  const struct {
    std::span<const std::byte> bytes;
    size_t fds;
    size_t messages;
  } all[] = {{note, 1, 1}, {made, 2, 1}, {made, 16, 1}, {std::span(made).first(3), 2, 0}};
  for (const auto& [bytes, fds, messages] : all) {
    SocketPair sockets;
    Channel to(std::move(sockets.b));
    send_raw(sockets.a, bytes, std::vector<int>(fds, file.get()));
    const Received got = receive_all(to);
    g_assert_cmpuint(got.messages.size(), ==, messages);
    g_assert_true(fails(got.open, Failure::protocol, "the peer sent descriptors nobody asked for"));
  }
}

// More at once than there is room for: the kernel drops some and says so. Those that came are
// closed with the channel.
void lost_descriptors_are_an_error() {
  SocketPair sockets;
  Channel to(std::move(sockets.b));
  const Fd file = some_file();
  send_raw(sockets.a, build(ArenaMade{1, 4096}), std::vector<int>(100, file.get()));
  g_assert_true(
      fails(receive_all(to).open, Failure::no_space, "descriptors from the peer were lost"));
}

void a_full_descriptor_table_is_an_error() {
  g_assert_true(in_child([] {
    SocketPair sockets;
    Channel to(std::move(sockets.b));
    const Fd file = some_file();
    send_raw(sockets.a, build(ArenaMade{1, 4096}), {file.get()});
    const rlimit none{0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    return fails(receive_all(to).open, Failure::no_space, "ulimit -n");
  }));
}

void garbage_is_an_error() {
  SocketPair sockets;
  Channel to(std::move(sockets.b));
  send_raw(sockets.a, build(note_of(5, 0)));
  send_raw(sockets.a, as_bytes("GET / HTTP/1.1\r\n\r\n"));
  const Received got = receive_all(to);
  g_assert_cmpuint(got.messages.size(), ==, 1);  // what came before it counts
  g_assert_true(fails(got.open, Failure::protocol, "a control message of "));
}

void too_large_is_not_sent() {
  SocketPair sockets;
  Channel from(std::move(sockets.a));
  Channel to(std::move(sockets.b));
  constexpr size_t kFixed = 12;
  g_assert_true(fails(from.send(note_of(1, kMaxMessage - kFixed + 1)), Failure::settings,
                      "a control message of 65537 bytes is too large to send"));
  must(from.send(note_of(2, kMaxMessage - kFixed)));
  const Received got = receive_all(to);
  g_assert_cmpuint(got.messages.size(), ==, 1);
  g_assert_cmpuint(kind_of(got.messages[0]), ==, 2);
}

void a_peer_that_never_reads_is_an_error_in_the_end() {
  SocketPair sockets;
  Channel from(std::move(sockets.a));
  constexpr size_t kSize = 60000;
  size_t taken = 0;
  Status said = ok();
  while (said) {
    said = from.send(note_of(1, kSize));
    if (said) taken += kSize;
    g_assert_cmpuint(taken, <, 8 << 20);  // what is kept has a limit
  }
  g_assert_true(fails(said, Failure::gone, "the peer does not read its control messages"));
  g_assert_cmpuint(taken, >, 1 << 20);
}

void hang_up_comes_after_what_was_sent() {
  SocketPair sockets;
  Channel to(std::move(sockets.b));
  {
    Channel from(std::move(sockets.a));
    must(from.send(note_of(1, 10)));
    must(from.send(Refuse{"bye"}));
  }
  const Received got = receive_all(to);
  g_assert_cmpuint(got.messages.size(), ==, 2);
  g_assert_false(must(got.open));
  g_assert_false(must(receive_all(to).open));
  // Not an error of the sender, nor a SIGPIPE: the reading side says it.
  must(to.send(Lanes{}));
  must(to.flush());
  g_assert_false(to.wants_to_write());
}

// A peer that went without reading what we sent (ECONNRESET) has hung up like any other.
void hang_up_of_a_peer_that_did_not_read() {
  SocketPair sockets;
  Channel to(std::move(sockets.b));
  {
    Channel from(std::move(sockets.a));
    must(to.send(note_of(1, 10)));
    must(from.send(note_of(2, 10)));
  }
  const Received got = receive_all(to);
  g_assert_cmpuint(got.messages.size(), ==, 1);
  g_assert_false(must(got.open));
}

void shut_down_is_seen_by_both() {
  SocketPair sockets;
  Channel one(std::move(sockets.a));
  Channel other(std::move(sockets.b));
  must(one.send(note_of(1, 0)));
  std::thread([&] { one.shut_down(); }).join();
  const Received got = receive_all(other);
  g_assert_cmpuint(got.messages.size(), ==, 1);
  g_assert_false(must(got.open));
  g_assert_false(must(receive_all(one).open));
}

void stops_where_it_is_told_to() {
  SocketPair sockets;
  Channel from(std::move(sockets.a));
  Channel to(std::move(sockets.b));
  for (uint32_t i = 0; i < 5; ++i) must(from.send(note_of(i, 0)));
  uint32_t seen = 0;
  g_assert_true(must(to.receive([&](Channel::Received) { return ++seen < 3; })));
  g_assert_cmpuint(seen, ==, 3);
  const Received got = receive_all(to);  // and goes on behind it
  g_assert_cmpuint(got.messages.size(), ==, 2);
  g_assert_cmpuint(kind_of(got.messages[0]), ==, 3);
}

// Whoever writes faster than we read must not keep the endpoint's thread, nor its lock, for ever.
void a_flood_is_read_in_portions() {
  SocketPair sockets;
  Channel to(std::move(sockets.b));
  const Bytes bytes = build(note_of(1, 0));
  send_raw(sockets.a, bytes);
  uint32_t seen = 0;
  const bool open = must(to.receive([&](Channel::Received) {
    send_raw(sockets.a, bytes);  // there is always one more
    return ++seen < 1000000;
  }));
  g_assert_true(open);
  g_assert_cmpuint(seen, <, 1000000);
}

// send() by any thread, while one receives: each message whole, each sender's in order.
void many_threads_send() {
  SocketPair sockets;
  Channel from(std::move(sockets.a));
  Channel to(std::move(sockets.b));
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kEach = 300;
  std::vector<std::thread> senders;
  for (uint32_t t = 0; t < kThreads; ++t)
    senders.emplace_back([&from, t] {
      for (uint32_t i = 0; i < kEach; ++i) must(from.send(note_of(t << 16 | i, i)));
    });
  Received got;
  g_assert_true(eventually([&] {
    must(from.flush());
    receive_more(to, got);
    return got.messages.size() == kThreads * kEach;
  }));
  for (auto& sender : senders) sender.join();
  std::array<uint32_t, kThreads> next{};
  for (const Message& message : got.messages) {
    const auto& note = std::get<Note>(message);
    g_assert_cmpuint(note.kind & 0xffff, ==, next[note.kind >> 16]++);
    g_assert_cmpuint(note.bytes.size(), ==, note.kind & 0xffff);
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/channel/messages-arrive-in-order", messages_arrive_in_order},
       {"/channel/descriptors-arrive-with-their-message", descriptors_arrive_with_their_message},
       {"/channel/arrives-byte-by-byte", arrives_byte_by_byte},
       {"/channel/partial-writes-go-on", partial_writes_go_on},
       {"/channel/a-missing-descriptor-is-an-error", a_missing_descriptor_is_an_error},
       {"/channel/descriptors-nobody-asked-for-are-an-error",
        descriptors_nobody_asked_for_are_an_error},
       {"/channel/lost-descriptors-are-an-error", lost_descriptors_are_an_error},
       {"/channel/a-full-descriptor-table-is-an-error", a_full_descriptor_table_is_an_error},
       {"/channel/garbage-is-an-error", garbage_is_an_error},
       {"/channel/too-large-is-not-sent", too_large_is_not_sent},
       {"/channel/a-peer-that-never-reads-is-an-error-in-the-end",
        a_peer_that_never_reads_is_an_error_in_the_end},
       {"/channel/hang-up-comes-after-what-was-sent", hang_up_comes_after_what_was_sent},
       {"/channel/hang-up-of-a-peer-that-did-not-read", hang_up_of_a_peer_that_did_not_read},
       {"/channel/shut-down-is-seen-by-both", shut_down_is_seen_by_both},
       {"/channel/stops-where-it-is-told-to", stops_where_it_is_told_to},
       {"/channel/a-flood-is-read-in-portions", a_flood_is_read_in_portions},
       {"/channel/many-threads-send", many_threads_send}});
}
