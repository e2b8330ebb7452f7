#include "tests/elements/support.h"

#include <dirent.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "gst/mmap.h"

namespace test {

namespace {

constexpr auto kPatience = std::chrono::seconds(10);
GstClockTime bus_patience() { return slowness() * 10 * GST_SECOND; }

// GStreamer's own clock keeps the thread it once needed, and so does GLib for its thread pools.
bool is_ours(const std::filesystem::path& task) {
  std::ifstream file(task / "comm");
  std::string name;
  std::getline(file, name);
  return file && name != "GstSystemClock" && name != "pool-spawner";
}

}  // namespace

int slowness() {
  const char* text = g_getenv("CK_TIMEOUT_MULTIPLIER");
  return text != nullptr ? std::max(std::atoi(text), 1) : 1;
}

std::string text_of(GstMessage* message) {
  GError* error = nullptr;
  gst_message_parse_error(message, &error, nullptr);
  std::string text = error->message;
  g_error_free(error);
  return text;
}

// --- the scene ----------------------------------------------------------------------------------

Scene::Open Scene::open_now() {
  Open open;
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++open.files;
    std::error_code closed;  // meanwhile
    open.names += " " + std::filesystem::read_symlink(file, closed).string();
  }
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
    open.threads += is_ours(task.path());
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) open.mappings += contains(line, "/memfd:mmap-");
  return open;
}

std::string Scene::Open::text() const {
  return std::to_string(files) + " descriptors, " + std::to_string(threads) + " threads, " +
         std::to_string(mappings) + " mappings (" +
         names.substr(std::min<size_t>(names.size(), 1)) + ")";
}

Scene::Scene() {
  // What stays for the life of a process is there before the first look.
  g_main_context_default();
  g_thread_pool_set_max_unused_threads(0);
  std::string name = std::filesystem::temp_directory_path() / "mmap-test-XXXXXX";
  fail_unless(mkdtemp(name.data()) != nullptr);
  directory_ = name;
  before_ = open_now();
}

Scene::~Scene() {
  // Without this the threads of tasks that ended stay for a while.
  gst_task_cleanup_all();
  const bool clean = becomes([&] {
    const Open now = open_now();
    return now.files <= before_.files && now.threads <= before_.threads &&
           now.mappings <= before_.mappings;
  });
  fail_unless(clean, "left open: %s before, %s after", before_.text().c_str(),
              open_now().text().c_str());
  for (const auto& file : std::filesystem::directory_iterator(directory_))
    fail_unless(!file.is_socket(), "%s was left behind", file.path().c_str());
  std::filesystem::remove_all(directory_);
}

std::string Scene::sink(const std::string& properties) const {
  return "mmapsink socket-path=" + path() + " " + properties;
}

std::string Scene::src(const std::string& properties) const {
  return "mmapsrc socket-path=" + path() + " " + properties;
}

bool becomes(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience * slowness();
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    poll(nullptr, 0, 2);
  }
  return true;
}

Warnings::Warnings() {
  gst_debug_set_threshold_for_name("mmap*", GST_LEVEL_WARNING);
  (gst_debug_add_log_function)(log, this, nullptr);  // not the macro, which is none of C++
}

Warnings::~Warnings() { gst_debug_remove_log_function_by_data(this); }

bool Warnings::has(const std::string& text) {
  const std::lock_guard lock(mutex_);
  return contains(all_, text);
}

void Warnings::log(GstDebugCategory*, GstDebugLevel level, const gchar*, const gchar*, gint,
                   GObject*, GstDebugMessage* message, gpointer self) {
  if (level > GST_LEVEL_WARNING) return;
  auto& warnings = *static_cast<Warnings*>(self);
  const std::lock_guard lock(warnings.mutex_);
  warnings.all_ += gst_debug_message_get(message);
}

guint64 stat(GstElement* element, const char* field) {
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  guint64 value = 0;
  fail_unless(gst_structure_get_uint64(stats, field, &value), "no field %s in stats", field);
  gst_structure_free(stats);
  return value;
}

std::string text_stat(GstElement* element, const char* field) {
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  const gchar* text = gst_structure_get_string(stats, field);
  const std::string copy = text != nullptr ? text : "";
  gst_structure_free(stats);
  return copy;
}

// --- a pipeline ---------------------------------------------------------------------------------

// The mode of all our elements of which the test wants none in particular: so most tests run three
// times, mapped, inline, and with payload in files beside the socket.
static void carry_as_asked(GstElement* element) {
  const char* mode = g_getenv("TEST_MMAP");
  if (mode == nullptr ||
      g_object_class_find_property(G_OBJECT_GET_CLASS(element), "mmap") == nullptr)
    return;
  gchar* word = nullptr;
  g_object_get(element, "mmap", &word, nullptr);
  gchar* socket = nullptr;
  g_object_get(element, "socket-path", &socket, nullptr);
  std::string wanted = mode;
  if (wanted == "path")
    wanted = std::filesystem::path(socket != nullptr ? socket : "").parent_path();
  if (g_strcmp0(word, "auto") == 0 && !wanted.empty())
    g_object_set(element, "mmap", wanted.c_str(), nullptr);
  g_free(socket);
  g_free(word);
}

static void carry_all_as_asked(GstElement* bin) {
  GstIterator* elements = gst_bin_iterate_recurse(GST_BIN(bin));
  const auto carry = [](const GValue* item, gpointer) {
    carry_as_asked(GST_ELEMENT(g_value_get_object(item)));
  };
  gst_iterator_foreach(elements, carry, nullptr);
  gst_iterator_free(elements);
}

Pipeline::Pipeline(const std::string& line) {
  GError* error = nullptr;
  pipeline_ = gst_parse_launch(line.c_str(), &error);
  fail_unless(error == nullptr, "%s: %s", line.c_str(), error != nullptr ? error->message : "");
  // One element alone comes without a pipeline.
  if (!GST_IS_PIPELINE(pipeline_)) {
    GstElement* inside = pipeline_;
    pipeline_ = gst_pipeline_new(nullptr);
    gst_bin_add(GST_BIN(pipeline_), inside);
  }
  carry_all_as_asked(pipeline_);
  bus_ = gst_element_get_bus(pipeline_);
}

Pipeline::~Pipeline() {
  stop();
  gst_object_unref(bus_);
  // A bin's change of state may have a thread of its own, which is about to end.
  fail_unless(becomes([&] { return GST_OBJECT_REFCOUNT_VALUE(pipeline_) == 1; }));
  std::atomic<int> left{0};
  GstIterator* elements = gst_bin_iterate_recurse(GST_BIN(pipeline_));
  const auto watch = [](const GValue* item, gpointer count) {
    ++*static_cast<std::atomic<int>*>(count);
    g_object_weak_ref(
        G_OBJECT(g_value_get_object(item)),
        [](gpointer data, GObject*) { --*static_cast<std::atomic<int>*>(data); }, count);
  };
  gst_iterator_foreach(elements, watch, &left);
  gst_iterator_free(elements);
  gst_object_unref(pipeline_);
  fail_unless(becomes([&] { return left == 0; }), "%d elements are left", left.load());
}

GstElement* Pipeline::element(const char* name) const {
  GstElement* found = gst_bin_get_by_name(GST_BIN(pipeline_), name);
  fail_unless(found != nullptr, "no element %s", name);
  gst_object_unref(found);
  return found;
}

GstStateChangeReturn Pipeline::set(GstState state) const {
  return gst_element_set_state(pipeline_, state);
}

void Pipeline::play() const {
  if (set(GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE) return;
  ck_abort_msg("the pipeline does not play: %s", wait_error().c_str());
}

void Pipeline::stop() const { fail_unless(set(GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS); }

Ref<GstMessage> Pipeline::wait(GstMessageType types) const {
  Ref<GstMessage> message(gst_bus_timed_pop_filtered(bus_, bus_patience(), types));
  fail_unless(message != nullptr, "no message of type %x came", types);
  return message;
}

void Pipeline::wait_eos() const {
  const auto message = wait(static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  if (GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR)
    ck_abort_msg("%s: %s", GST_MESSAGE_SRC_NAME(message.get()), text_of(message.get()).c_str());
}

std::string Pipeline::wait_error() const { return text_of(wait(GST_MESSAGE_ERROR).get()); }

std::vector<std::string> Pipeline::errors() const {
  std::vector<std::string> texts;
  while (GstMessage* message = gst_bus_pop_filtered(bus_, GST_MESSAGE_ERROR)) {
    gchar* debug = nullptr;
    gst_message_parse_error(message, nullptr, &debug);
    texts.push_back(text_of(message) + (debug != nullptr ? std::string(" (") + debug + ")" : ""));
    g_free(debug);
    gst_message_unref(message);
  }
  return texts;
}

// --- a harness ----------------------------------------------------------------------------------

Harness::Harness(const std::string& line, const char* caps) : bus_(gst_bus_new()) {
  GError* error = nullptr;
  GstElement* element = gst_parse_launch(line.c_str(), &error);
  fail_unless(error == nullptr, "%s: %s", line.c_str(), error != nullptr ? error->message : "");
  gst_object_ref_sink(element);
  carry_as_asked(element);
  gst_element_set_bus(element, bus_);
  const bool is_sink = GST_OBJECT_FLAG_IS_SET(element, GST_ELEMENT_FLAG_SINK);
  harness_ =
      gst_harness_new_with_element(element, is_sink ? "sink" : nullptr, is_sink ? nullptr : "src");
  gst_object_unref(element);
  if (is_sink && caps != nullptr) set_caps(caps);
}

Harness::~Harness() {
  gst_element_set_state(element(), GST_STATE_NULL);
  gst_element_set_bus(element(), nullptr);
  gst_bus_set_flushing(bus_, TRUE);
  gst_object_unref(bus_);
  gst_harness_teardown(harness_);
}

void Harness::set_caps(const std::string& caps) const {
  gst_harness_set_src_caps_str(harness_, caps.c_str());
}

GstBuffer* numbered(guint64 number, gsize size) {
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, size, nullptr);
  gst_buffer_memset(buffer, 0, static_cast<guint8>(number), size);
  GST_BUFFER_OFFSET(buffer) = number;
  GST_BUFFER_PTS(buffer) = number * (GST_SECOND / 30);
  GST_BUFFER_DURATION(buffer) = GST_SECOND / 30;
  return buffer;
}

GstBuffer* Harness::acquire(guint64 number) const {
  GstBuffer* buffer = acquire();
  gst_buffer_memset(buffer, 0, static_cast<guint8>(number), gst_buffer_get_size(buffer));
  GST_BUFFER_OFFSET(buffer) = number;
  return buffer;
}

GstFlowReturn Harness::push_number(guint64 number) const { return push(numbered(number)); }

void Harness::push_event(GstEvent* event) const {
  fail_unless(gst_harness_push_event(harness_, event));
}

Ref<GstQuery> Harness::ask_allocation() const {
  const Ref<GstCaps> caps(gst_pad_get_current_caps(harness_->srcpad));
  Ref<GstQuery> query(gst_query_new_allocation(caps.get(), TRUE));
  fail_unless(gst_pad_peer_query(harness_->srcpad, query.get()));
  return query;
}

GstBuffer* Harness::allocate(gsize size) const {
  const auto query = ask_allocation();
  GstAllocator* allocator = nullptr;
  GstAllocationParams params;
  fail_unless(gst_query_get_n_allocation_params(query.get()) > 0);
  gst_query_parse_nth_allocation_param(query.get(), 0, &allocator, &params);
  GstBuffer* buffer = gst_buffer_new_allocate(allocator, size, &params);
  gst_object_unref(allocator);
  return buffer;
}

GstBuffer* Harness::acquire() const {
  const auto query = ask_allocation();
  fail_unless(gst_query_get_n_allocation_pools(query.get()) > 0);
  GstBufferPool* pool = nullptr;
  gst_query_parse_nth_allocation_pool(query.get(), 0, &pool, nullptr, nullptr, nullptr);
  fail_unless(gst_buffer_pool_set_active(pool, TRUE));
  GstBuffer* buffer = nullptr;
  fail_unless_equals_int(gst_buffer_pool_acquire_buffer(pool, &buffer, nullptr), GST_FLOW_OK);
  gst_buffer_pool_set_active(pool, FALSE);
  gst_object_unref(pool);
  return buffer;
}

void Harness::wait_for_clients(guint count) const {
  guint now = 0;
  const bool came = becomes([&] {
    g_object_get(element(), "num-clients", &now, nullptr);
    return now == count;
  });
  fail_unless(came, "%u clients, not %u", now, count);
}

Ref<GstBuffer> Harness::pull() const {
  Ref<GstBuffer> buffer(gst_harness_pull(harness_));
  fail_unless(buffer != nullptr, "no buffer came");
  return buffer;
}

guint64 Harness::pull_number() const {
  const auto buffer = pull();
  const guint64 number = GST_BUFFER_OFFSET(buffer.get());
  GstMapInfo map;
  fail_unless(gst_buffer_map(buffer.get(), &map, GST_MAP_READ));
  fail_unless(std::all_of(map.data, map.data + map.size,
                          [&](guint8 byte) { return byte == static_cast<guint8>(number); }),
              "the content of frame %" G_GUINT64_FORMAT " is not its own", number);
  gst_buffer_unmap(buffer.get(), &map);
  return number;
}

Ref<GstEvent> Harness::pull_event(GstEventType type) const {
  for (;;) {
    Ref<GstEvent> event(gst_harness_pull_event(harness_));
    fail_unless(event != nullptr, "no event %s came", gst_event_type_get_name(type));
    if (GST_EVENT_TYPE(event.get()) == type) return event;
  }
}

std::string Harness::wait_error() const {
  const Ref<GstMessage> message(
      gst_bus_timed_pop_filtered(bus_, bus_patience(), GST_MESSAGE_ERROR));
  fail_unless(message != nullptr, "no error came");
  return text_of(message.get());
}

// --- small things -------------------------------------------------------------------------------

std::string caps_of(GstEvent* event) {
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  gchar* text = gst_caps_to_string(caps);
  std::string copy = text;
  g_free(text);
  return copy;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Lies lies(GstMemory* memory) {
  fail_unless(gst_is_mmap_memory(memory));
  struct stat st {};
  // Of a file there is none.
  const int fd = gst_mmap_memory_get_fd(memory);
  if (fd >= 0) fail_unless_equals_int(fstat(fd, &st), 0);
  return {st.st_ino, gst_mmap_memory_get_offset(memory)};
}

bool lies_still(const Lies& there, GstMemory* came) {
  return g_getenv("TEST_MMAP") != nullptr || lies(came) == there;
}

namespace {

struct Test {
  const char* name;
  TFun function;
  int number;
};
std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}

std::map<std::string, Program::Main>& all_programs() {
  static std::map<std::string, Program::Main> programs;
  return programs;
}

std::vector<std::string>& words() {
  static std::vector<std::string> all;
  return all;
}

// As a test that is alone, since nothing can fail outside of one.
int run_program() {
  g_unsetenv("GST_CHECKS");  // that was a choice among the tests
  const char* name = words().front().c_str();
  TCase* tcase = tcase_create(name);
  const auto run = [](int) {
    tcase_fn_start("program", __FILE__, __LINE__);
    all_programs()[words().front()]({words().begin() + 1, words().end()});
  };
  _tcase_add_test(tcase, run, name, 0, 0, 0, 1);
  Suite* suite = suite_create(name);
  suite_add_tcase(suite, tcase);
  SRunner* runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed;
}

}  // namespace

Program::Program(const char* name, Main main) { all_programs()[name] = main; }

Registered::Registered(const char* name, TFun function, int number) {
  all_tests().push_back({name, function, number});
}

}  // namespace test

int main(int argc, char** argv) {
  test::words().assign(argv + 1, argv + argc);
  gst_check_init(&argc, &argv);
  if (argc > 1 && test::all_programs().contains(test::words().front())) return test::run_program();
  const std::string name = std::filesystem::path(argv[0]).filename();
  Suite* suite = suite_create(name.c_str());
  // "0" or "1": one half of them, where there are many that take long.
  const auto half = argc > 1 ? std::optional(std::stoul(argv[1])) : std::nullopt;
  size_t count = 0;
  for (const auto& test : test::all_tests()) {
    if (half && count++ % 2 != *half) continue;
    TCase* tcase = tcase_create(test.name);
    suite_add_tcase(suite, tcase);
    _tcase_add_test(tcase, test.function, test.name, 0, 0, test.number, test.number + 1);
  }
  return gst_check_run_suite(suite, name.c_str(), __FILE__);
}
