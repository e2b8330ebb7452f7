// What a client asks of a server: lines into a request and back, and what a peer could send.
#include "gst/request.h"

#include "lib/message.h"
#include "tests/elements/support.h"

using gstmmap::Params;
using gstmmap::Request;

namespace {

// cppcheck-suppress passedByValue ; a temporary
void is_wrong(const mmaplink::Error& error, const char* why) {
  fail_unless(error.text.find(why) != std::string::npos, "%s", error.text.c_str());
}

void parses(const std::string& text, const Request& wanted) {
  auto parsed = gstmmap::parse_request(text);
  fail_unless(static_cast<bool>(parsed), "%s", parsed ? "" : parsed.error().text.c_str());
  fail_unless(*parsed == wanted);
  fail_unless(gstmmap::build(*parsed) == text);
  fail_unless(static_cast<bool>(gstmmap::check(wanted)));
}

void refuses(const std::string& text, const char* why) {
  auto parsed = gstmmap::parse_request(text);
  fail_if(static_cast<bool>(parsed), "'%s' was taken", text.c_str());
  is_wrong(parsed.error(), why);
}

void person_writes(const char* text, const Params& wanted) {
  auto parsed = gstmmap::parse_params(text);
  fail_unless(static_cast<bool>(parsed), "%s", parsed ? "" : parsed.error().text.c_str());
  fail_unless(*parsed == wanted, "%s", text);
}

void person_may_not_write(const std::string& text, const char* why) {
  auto parsed = gstmmap::parse_params(text);
  fail_if(static_cast<bool>(parsed), "'%s' was taken", text.c_str());
  is_wrong(parsed.error(), why);
}

}  // namespace

TEST(lines_are_a_request) {
  parses("", {});
  parses("h264", {"h264", {}});
  parses("\nbitrate=2000", {"", {{"bitrate", "2000"}}});
  parses("é\nx264enc.option-string=a=b:c,d \ntune=",
         {"é", {{"x264enc.option-string", "a=b:c,d "}, {"tune", ""}}});
  auto lines = gstmmap::parse_param_lines("a=1\nb=2");
  fail_unless(static_cast<bool>(lines) && *lines == Params({{"a", "1"}, {"b", "2"}}));
  fail_unless(gstmmap::parse_param_lines("")->empty());
}

TEST(what_a_peer_sends_is_looked_at) {
  refuses("h264\n", "'' in a request is not name=value");
  refuses("h264\nbitrate", "'bitrate' in a request is not name=value");
  refuses("h264\n=5", "is not name=value");
  refuses("h264\na b=5", "is not the name of a property");
  refuses("h264\na=1\na=2", "'a' is in a request twice");
  refuses("h264\na=1\r", "control characters");
  refuses("h264\na=\x1b[2J", "control characters");
  refuses("h264\na=\xc2\x9b", "control characters");
  refuses("\xff", "UTF-8");
  refuses(std::string("a\0b", 3), "UTF-8");
  refuses(std::string(mmaplink::kMostRequest + 1, 'a'), "at most 4096");
  refuses("p\n" + std::string(1000, 'x'), "x…'");
  const std::string halved = "p\n" + std::string(59, 'x') + "éé";
  refuses(halved, "…'");
  auto parsed = gstmmap::parse_request(halved);
  fail_unless(g_utf8_validate(parsed.error().text.c_str(), -1, nullptr));
}

TEST(what_a_peer_says_is_shown) {
  fail_unless(gstmmap::shortened("é \x1b]0;x\x07 \xc2\x9b") == "é ?]0;x? ?");
  fail_unless(gstmmap::shortened("12345", 4) == "1234…");
}

TEST(what_cannot_be_in_lines_is_found) {
  fail_if(static_cast<bool>(gstmmap::check({"a\nb=1", {}})));
  fail_if(static_cast<bool>(gstmmap::check({"", {{"a", "1\nb=2"}}})));
  fail_if(static_cast<bool>(gstmmap::check({"", {{"a=b", "1"}}})));
  fail_if(static_cast<bool>(gstmmap::check({"", {{"", "1"}}})));
  fail_if(static_cast<bool>(gstmmap::check({std::string(5000, 'a'), {}})));
}

TEST(a_person_writes_commas) {
  person_writes("", {});
  person_writes("  ", {});
  person_writes("bitrate=2000", {{"bitrate", "2000"}});
  person_writes(" bitrate=2000, speed-preset=fast ",
                {{"bitrate", "2000"}, {"speed-preset", "fast"}});
  person_writes("a=1\\,2,b=\\\\,c=\\d", {{"a", "1,2"}, {"b", "\\"}, {"c", "\\d"}});
  person_may_not_write("bitrate", "'bitrate' in a request is not name=value");
  person_may_not_write("a=1,", "'' in a request is not name=value");
  person_may_not_write(",a=1", "is not name=value");
  person_may_not_write("a=1,a=2", "twice");
  person_may_not_write("a=1\nb=2", "control characters");
}
