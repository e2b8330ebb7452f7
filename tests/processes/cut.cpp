// The pipelines of tests/elements/cut.cpp, cut in the middle, with the near half in another
// process. Where else they may be cut makes no difference to that.
#include "tests/elements/cut.h"

#include <sys/prctl.h>

#include <csignal>
#include <filesystem>

#include "tests/processes/support.h"

using test::Pipeline;
using test::Process;
using test::cut::Case;

namespace {

// near CASE PLACE DIRECTORY: plays that half until SIGTERM.
void play_near(const std::vector<std::string>& words) {
  // No test that crashed leaves it behind.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  // Before there are other threads, so that none of them gets it.
  pthread_sigmask(SIG_BLOCK, &end, nullptr);
  const Case& what = test::cut::cases()[std::stoul(words[0])];
  const Pipeline pipeline(test::cut::near_line(what, std::stoul(words[1]), words[2]));
  if (what.prepare) what.prepare(pipeline);
  pipeline.play();
  const timespec patience{60, 0};
  fail_unless_equals_int(sigtimedwait(&end, nullptr, &patience), SIGTERM);
  for (const auto& error : pipeline.errors()) ck_abort_msg("%s", error.c_str());
}

const test::Program near("near", play_near);

// Ends the process, which must have nothing to complain of.
void end(Process* process) {
  process->send(SIGTERM);
  process->wait_good();
  delete process;
}

void run(int number) {
  const Case& what = test::cut::cases()[static_cast<size_t>(number)];
  tcase_fn_start(what.name, __FILE__, __LINE__);
  const test::Stage stage;
  const std::string directory = std::filesystem::path(stage.path()).parent_path();
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  test::cut::check(what, directory, {test::cut::middle_place(what)},
                   [&](size_t place) -> test::cut::Near {
                     const Process::Words words{self, "near", std::to_string(number),
                                                std::to_string(place), directory};
                     return {new Process(words), end};
                   });
}

const test::cut::Tests tests(run);

}  // namespace
