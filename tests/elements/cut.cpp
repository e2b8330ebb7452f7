// A pipeline that is cut in two is the same pipeline: each case runs whole, and then cut at each
// place there is, and all that its last sink gets to see is the same.
#include "tests/elements/cut.h"

using test::Pipeline;
using test::cut::Case;

namespace {

void run(int number) {
  const Case& what = test::cut::cases()[static_cast<size_t>(number)];
  tcase_fn_start(what.name, __FILE__, __LINE__);
  const test::Scene scene;
  test::cut::check(what, scene.directory(), test::cut::all_places(what), [&](size_t place) {
    const auto near =
        std::make_shared<Pipeline>(test::cut::near_line(what, place, scene.directory()));
    if (what.prepare) what.prepare(*near);
    near->play();
    return near;
  });
}

const test::cut::Tests tests(run);

}  // namespace
