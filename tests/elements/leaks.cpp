// Nothing grows: elements go through all states a hundred times with data between them, and leave
// no descriptor, thread, mapping or object behind. (Objects are looked after by test::Pipeline.)
#include "tests/elements/support.h"

using test::Pipeline;
using test::Scene;

namespace {

constexpr int kRounds = 100;

// `round` must leave everything as it was, after a first time that loads what is loaded once.
void repeat(const std::function<void(const Scene&)>& round) {
  const Scene loads;
  round(loads);
  const Scene scene;
  for (int i = 0; i < kRounds; ++i) round(scene);
}

}  // namespace

TEST(one_way_pair_a_hundred_times) {
  repeat([](const Scene& scene) {
    const Pipeline sender("videotestsrc num-buffers=3 ! " + std::string(test::kVideo) + " ! " +
                          scene.sink("wait-for-connection=true"));
    const Pipeline reader(scene.src("! fakesink async=false"));
    sender.play();
    reader.play();
    reader.wait_eos();
    sender.wait_eos();
  });
}

TEST(two_way_pair_a_hundred_times) {
  repeat([](const Scene& scene) {
    const Pipeline server(scene.src("role=server mmap=yes ! ") + scene.sink());
    const Pipeline client("videotestsrc num-buffers=3 ! " + std::string(test::kVideo) + " ! " +
                          scene.sink("role=client ") + scene.src("! fakesink async=false"));
    server.play();
    client.play();
    client.wait_eos();
    server.wait_eos();
  });
}

TEST(same_elements_a_hundred_times) {
  const Scene scene;
  const Pipeline sender("videotestsrc is-live=true ! " + scene.sink());
  const Pipeline reader(scene.src("name=src ! fakesink async=false"));
  const auto round = [&] {
    sender.play();
    reader.play();
    fail_unless(test::becomes([&] { return test::stat(reader.element("src"), "buffers") > 0; }));
    reader.stop();
    sender.stop();
    fail_unless(sender.errors().empty());
  };
  round();
  const auto before = Scene::open_now();
  for (int i = 0; i < kRounds; ++i) round();
  fail_unless(test::becomes([&] {
                const auto now = Scene::open_now();
                return now.files <= before.files && now.threads <= before.threads &&
                       now.mappings <= before.mappings;
              }),
              "%s before, %s after", before.text().c_str(), Scene::open_now().text().c_str());
}
