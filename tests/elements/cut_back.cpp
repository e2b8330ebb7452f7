// The pipelines of cut.cpp, with one element of each in a server: what goes before it is sent there
// over a two-way link and comes back over the same.
#include "tests/elements/cut.h"

using test::Pipeline;
using test::cut::Case;

namespace {

struct Halves {
  Halves(const Case& what, size_t place, const std::string& directory)
      : server(test::cut::server_line(what, place, directory)),
        near(test::cut::client_line(what, place, directory)) {
    if (what.prepare) {
      what.prepare(server);
      what.prepare(near);
    }
    // What is to share a link is there before that is made, as in one pipeline.
    fail_unless(near.set(GST_STATE_READY) == GST_STATE_CHANGE_SUCCESS);
    server.play();
    near.play();
  }
  const Pipeline server, near;
};

void run(int number) {
  const Case& what = test::cut::cases()[static_cast<size_t>(number)];
  tcase_fn_start(what.name, __FILE__, __LINE__);
  const test::Scene scene;
  test::cut::check_back(what, scene.directory(), [&](size_t place) {
    return std::make_shared<Halves>(what, place, scene.directory());
  });
}

const test::cut::Tests tests(run);

}  // namespace
