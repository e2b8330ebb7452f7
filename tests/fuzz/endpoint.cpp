// A peer of a whole Endpoint, server or client, with its thread: the handshake, what comes after it
// in pieces with descriptors, and the hang-up.
//
// The first byte says which role ours has, what is attached to it, and whether payload lies in a
// file. That one is there already: all of its tokens are zeros, and so are those that a peer must
// know.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "lib/endpoint.h"
#include "tests/fuzz/link_input.h"

namespace {

using namespace mmaplink;

// As an element: takes what is there, and answers.
class User : public EndpointUser {
 public:
  void on_connected(const std::shared_ptr<Link>& link) override {
    fuzz::check(!link_, "one peer at a time");
    link_ = link;
  }
  void on_lanes(const std::shared_ptr<Link>& link) override {
    ReceiveLane& lane = *link->receive_lane();
    for (;;) {
      auto took = lane.take(item_);
      if (!took) return link->hang_up(took.error().text);
      if (*took != ReceiveLane::Take::item) return;
      fuzz::read(item_.memory);
      lane.give_back(item_.descriptor.ticket);
    }
  }
  void on_note(const std::shared_ptr<Link>& link, const Note& note) override {
    constexpr uint32_t kNonsense = 7;
    fuzz::check(link == link_, "of the link there is");
    if (note.kind == kNonsense) return link->hang_up("a notice that makes no sense");
    if (auto said = link->note(note.kind, note.bytes); !said) link->hang_up(said.error().text);
  }
  void on_disconnected(const std::shared_ptr<Link>& link, const Error& why) override {
    fuzz::check(link == link_ && !link->alive() && !why.text.empty(), "told of its end, and why");
    link_.reset();
  }
  void on_waiting() override {}
  void on_refused(const Error&) override {}
  void on_failed(const Error& why) override { fuzz::check(!why.text.empty(), "told why"); }
  void on_status(StatusLines& lines) override { lines.emplace_back("{}"); }

 private:
  std::shared_ptr<Link> link_;
  Incoming item_;
};

// One side of the endpoint, for as long as an input lasts.
class Attached {
 public:
  Attached(const Endpoint::Key& key, Side side, const std::string& file)
      : side_(side),
        endpoint_(fuzz::must(Endpoint::attach(
            key, side, user_, file.empty() ? Wish::may : Wish::path, kDefaultMemory, file))) {
    Endpoint::Options options;
    options.monitor = true;
    fuzz::must(endpoint_->start(side, options));
  }
  ~Attached() {
    endpoint_->stop(side_);
    endpoint_->detach(side_);
  }

 private:
  const Side side_;
  User user_;
  const std::shared_ptr<Endpoint> endpoint_;
};

struct Directory {
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "mmap-fuzz-XXXXXX").string();
    fuzz::check(mkdtemp(name.data()) != nullptr, "mkdtemp");
    directory = name;
    path = directory + "/link";
    file = directory + "/file";
  }
  ~Directory() { std::filesystem::remove_all(directory); }
  std::string directory, path, file;
};

// Two pages for either side, as another link may have left it.
void make_file(const std::string& path) {
  constexpr off_t kSize = 5 * fuzz::kPage;
  constexpr uint64_t kMagic = 0x6d6d61702d72676e;
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  fuzz::check(fd && ftruncate(fd.get(), 0) == 0 && ftruncate(fd.get(), kSize) == 0 &&
                  pwrite(fd.get(), &kMagic, sizeof kMagic, 0) == sizeof kMagic,
              "a file for the link");
}

void wait_for(int fd) {
  constexpr int kLongest = 20'000;  // ms
  pollfd waits{fd, POLLIN, 0};
  int got;
  do got = poll(&waits, 1, kLongest);
  while (got < 0 && errno == EINTR);  // by libFuzzer's clock
  fuzz::check(got == 1, "it does something in time");
}

Fd accept_one(Listener& listener) {
  wait_for(listener.fd());
  return fuzz::must(listener.accept());
}

// Until the other end has hung up.
void read_all(int socket) {
  std::array<char, 4096> bytes;
  for (;;) {
    const ssize_t got = recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) continue;
    if (got == 0 || errno != EAGAIN) return;
    wait_for(socket);
  }
}

void talk(const Fd& socket, fuzz::Input& input) {
  while (!input.empty() && fuzz::send_piece(socket.get(), fuzz::next_piece(input))) {
  }
  shutdown(socket.get(), SHUT_WR);
  read_all(socket.get());
}

void run(const Directory& place, fuzz::Input& input) {
  const auto what = input.byte();
  const Role role = (what & 1) != 0 ? Role::client : Role::server;
  const Endpoint::Key key{place.path, role, nullptr};
  std::optional<Listener> listener;
  if (role == Role::client) listener.emplace(fuzz::must(Listener::open(place.path, {})));
  const std::string file = (what & 8) != 0 ? place.file : "";
  if (!file.empty()) make_file(file);
  std::optional<Attached> src, sink;
  if ((what & 2) == 0) src.emplace(key, Side::src, file);
  if ((what & 4) == 0 || !src) sink.emplace(key, Side::sink, file);
  const Fd socket = listener ? accept_one(*listener) : fuzz::must(connect_to(place.path));
  talk(socket, input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory place;
  const int before = fuzz::free_fd();
  fuzz::Input input(data, size);
  run(place, input);
  fuzz::check(fuzz::free_fd() == before, "no descriptor is left open");
  return 0;
}
