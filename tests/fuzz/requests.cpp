// What a client asks of a server, as it says it in its greeting and in an event later.
#include <string>

#include "gst/request.h"
#include "gst/rules.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

namespace {

template <class T>
void check_reason(const mmaplink::Result<T>& refused) {
  const std::string& text = refused.error().text;
  fuzz::check(!text.empty() && text.size() < 1000 &&
                  g_utf8_validate(text.data(), static_cast<gssize>(text.size()), nullptr),
              "a refusal says why, in words");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (auto request = gstmmap::parse_request(text)) {
    fuzz::check(gstmmap::build(*request) == text, "nothing of it is lost");
    fuzz::check(static_cast<bool>(gstmmap::check(*request)), "it can be sent");
  } else {
    check_reason(request);
  }
  if (auto params = gstmmap::parse_param_lines(text))
    fuzz::check(gstmmap::build_params(*params) == text, "nothing of it is lost");
  else
    check_reason(params);
  if (auto params = gstmmap::parse_params(text)) {
    auto again = gstmmap::parse_param_lines(gstmmap::build_params(*params));
    fuzz::check(again && *again == *params, "what a person writes can be sent");
  } else {
    check_reason(params);
  }
  // Of a person, too.
  if (auto rules = gstmmap::parse_rules(text); rules && !rules->empty()) {
    auto again = gstmmap::parse_rules(gstmmap::name_of(*rules));
    fuzz::check(again && *again == *rules, "rules are said as they are written");
  }
  return 0;
}
