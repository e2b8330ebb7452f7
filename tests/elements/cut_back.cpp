// The pipelines of cut.cpp, with one element of each in a server: what goes before it is sent there
// over a two-way link and comes back over the same.
#include "tests/elements/cut.h"

using test::Pipeline;
using test::cut::Case;

namespace {

struct Halves {
  Pipeline server, near;
};

void run(int number) {
  const Case& what = test::cut::cases()[static_cast<size_t>(number)];
  tcase_fn_start(what.name, __FILE__, __LINE__);
  const test::Scene scene;
  test::cut::check_back(what, scene.directory(), [&](size_t place) {
    const auto halves = std::shared_ptr<Halves>(
        new Halves{Pipeline(test::cut::server_line(what, place, scene.directory())),
                   Pipeline(test::cut::client_line(what, place, scene.directory()))});
    if (what.prepare) {
      what.prepare(halves->server);
      what.prepare(halves->near);
    }
    // What is to share a link is there before that is made, as in one pipeline.
    fail_unless(halves->near.set(GST_STATE_READY) == GST_STATE_CHANGE_SUCCESS);
    halves->server.play();
    halves->near.play();
    return halves;
  });
}

const test::cut::Tests tests(run);

}  // namespace
