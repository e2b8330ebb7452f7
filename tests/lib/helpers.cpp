#include "tests/lib/helpers.h"

#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

namespace mmaplink::test {

namespace {

constexpr auto kLongest = std::chrono::seconds(20);

struct Resources {
  std::vector<std::string> fds;
  size_t mappings = 0;
  size_t threads = 0;
  friend bool operator==(const Resources&, const Resources&) = default;
};

Resources resources() { return {open_fds(), memfd_mappings(), threads()}; }

void run_case(const void* data) {
  const auto& test = *static_cast<const Case*>(data);
  const Resources before = resources();
  test.run();
  Resources after;
  // A thread that has been joined may stand in /proc for a moment more.
  if (eventually([&] {
        after = resources();
        return after == before;
      }))
    return;
  const auto list = [](const char* when, const Resources& what) {
    g_test_message("%s: %zu memfd mappings, %zu threads, and the descriptors", when, what.mappings,
                   what.threads);
    for (const auto& fd : what.fds) g_test_message("  %s", fd.c_str());
  };
  list("before", before);
  list("after", after);
  g_test_message("%s leaks", test.path);
  g_test_fail();
}

size_t entries(const char* directory) {
  const auto walk = std::filesystem::directory_iterator(directory);
  return static_cast<size_t>(std::distance(begin(walk), end(walk)));
}

}  // namespace

int run_all(int argc, char** argv, std::initializer_list<Case> cases) {
  g_test_init(&argc, &argv, nullptr);
  // A sanitizer starts a thread of its own with our first one: before anything is counted.
  std::thread([] {}).join();
  for (const Case& test : cases) g_test_add_data_func(test.path, &test, run_case);
  return g_test_run();
}

bool eventually(const std::function<bool()>& condition) {
  const Deadline deadline = Clock::now() + kLongest;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") S") == 0;
}

bool in_child(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child < 0) g_error("fork: %s", std::strerror(errno));
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::vector<std::string> open_fds() {
  std::vector<std::string> list;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) g_error("/proc/self/fd: %s", std::strerror(errno));
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.' || std::stoi(entry->d_name) == dirfd(directory)) continue;
    std::error_code ignored;
    const auto what =
        std::filesystem::read_symlink(std::string("/proc/self/fd/") + entry->d_name, ignored);
    list.push_back(std::string(entry->d_name) + " " + what.string());
  }
  closedir(directory);
  std::sort(list.begin(), list.end());
  return list;
}

size_t memfd_mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    if (line.find("memfd:mmap-") != std::string::npos) ++count;
  return count;
}

size_t threads() { return entries("/proc/self/task"); }

bool says(const Error& error, Failure failure, const std::string& part) {
  if (error.failure == failure && error.text.find(part) != std::string::npos) return true;
  g_test_message("failure %d “%s”, expected %d “%s”", static_cast<int>(error.failure),
                 error.text.c_str(), static_cast<int>(failure), part.c_str());
  return false;
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "mmap-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) g_error("mkdtemp: %s", std::strerror(errno));
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

SocketPair::SocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
    g_error("socketpair: %s", std::strerror(errno));
  a = Fd(fds[0]);
  b = Fd(fds[1]);
}

// --- lanes ------------------------------------------------------------------------------------

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Hold counting_hold(std::atomic<int>& released) {
  return Hold(&released, [](void* count) { ++*static_cast<std::atomic<int>*>(count); });
}

Outgoing frame(uint64_t mark) {
  Outgoing item;
  item.descriptor.pts = mark;
  item.droppable = true;
  return item;
}

Outgoing event(uint64_t mark) {
  Outgoing item = frame(mark);
  item.droppable = false;
  return item;
}

bool put(SendLane& lane, Outgoing item, size_t max_queued) {
  return must(lane.publish(item, max_queued)) == SendLane::Room::yes;
}

Lane::Lane(Maps maps)
    : sender_memory_(must(Link::make_half())), receiver_memory_(must(Link::make_half())) {
  const auto peer_view = [&](const std::shared_ptr<SealedMemory>& memory) {
    if (maps == Maps::one) return std::shared_ptr<const Mapping>(memory, &memory->map);
    return std::make_shared<const Mapping>(must(map_sealed(memory->fd, memory->map.size())));
  };
  sender_map_ = peer_view(sender_memory_);
  receiver_map_ = peer_view(receiver_memory_);
  out_ = std::make_unique<SendLane>(sender_half(),
                                    *reinterpret_cast<const Half*>(receiver_map_->data()));
  in_ = std::make_shared<ReceiveLane>(receiver_memory_, sender_map_);
}

Lane::~Lane() = default;

std::vector<uint64_t> Lane::take_all() {
  std::vector<uint64_t> marks;
  while (take() == ReceiveLane::Take::item) {
    marks.push_back(item.descriptor.pts);
    if (item.descriptor.ticket != 0) in_->give_back(item.descriptor.ticket);
  }
  return marks;
}

size_t Lane::drain() {
  std::vector<Held> freed;
  must(out_->drain(freed));
  return freed.size();
}

void announce(ReceiveLane& to, const Arena& arena) {
  must(to.add_arena(arena.number(), Fd(dup(arena.fd().get())), arena.size()));
}

// --- links ------------------------------------------------------------------------------------

LinkPair::LinkPair() {
  SocketPair sockets;
  auto half_a = must(Link::make_half());
  const Peer self{getpid(), getuid()};
  a_ = must(Link::make(std::make_shared<Channel>(std::move(sockets.a)), half_a, half_b_->fd, self));
  b_ = must(Link::make(std::make_shared<Channel>(std::move(sockets.b)), half_b_, half_a->fd, self));
}

void LinkPair::pump() {
  const auto read = [](Link& link, std::vector<Message>& kept, bool& open) {
    must(link.channel().flush());
    open = must(link.channel().receive([&](Channel::Received received) {
      if (const auto* made = std::get_if<ArenaMade>(&received.message))
        must(link.receive_lane()->add_arena(made->number, std::move(received.fd), made->size));
      else if (const auto* retired = std::get_if<ArenaRetired>(&received.message))
        must(link.receive_lane()->retire_arena(retired->number));
      kept.push_back(std::move(received.message));
      return true;
    }));
  };
  read(*a_, to_a, a_open);
  read(*b_, to_b, b_open);
}

}  // namespace mmaplink::test
