// What a server's clients may set: rules as they are written, and parameters that keep to them or
// do not.
#include "gst/rules.h"

#include "tests/elements/support.h"

using gstmmap::Params;
using gstmmap::Rules;
using test::Ref;

namespace {

Ref<GstElement> bin_of(const char* launch) {
  GError* error = nullptr;
  GstElement* bin = gst_parse_bin_from_description(launch, TRUE, &error);
  fail_unless(error == nullptr);
  return Ref<GstElement>(GST_ELEMENT(gst_object_ref_sink(bin)));
}

Rules rules_of(const std::string& text) {
  auto rules = gstmmap::parse_rules(text);
  fail_unless(static_cast<bool>(rules), "%s", rules ? "" : rules.error().text.c_str());
  return *rules;
}

template <class T>
void fails(const mmaplink::Result<T>& result, const std::string& text) {
  fail_if(static_cast<bool>(result), "it did not fail: %s", text.c_str());
  fail_unless(test::contains(result.error().text, text), "%s", result.error().text.c_str());
}

guint number(GstElement* bin, const char* element, const char* property) {
  const Ref<GstElement> found(gst_bin_get_by_name(GST_BIN(bin), element));
  guint value = 0;
  g_object_get(found.get(), property, &value, nullptr);
  return value;
}

constexpr auto kLaunch = "identity name=first ! x264enc name=enc ! queue name=last";
constexpr auto kRules =
    "bitrate=500..8000, speed-preset=fast|medium,enc.key-int-max,x264enc.option-string,silent";

}  // namespace

TEST(rules_are_read_and_said_again) {
  fail_unless(rules_of("").empty());
  fail_unless(gstmmap::name_of({}) == "nothing");
  const std::string again = gstmmap::name_of(rules_of(kRules));
  fail_unless(again ==
              "bitrate=500..8000, speed-preset=fast|medium, enc.key-int-max, "
              "x264enc.option-string, silent");
  fail_unless(rules_of(again) == rules_of(kRules));
  fails(gstmmap::parse_rules("bitrate,"), "'' does not say what clients may set");
  fails(gstmmap::parse_rules("=5"), "'=5' does not say what");
  fails(gstmmap::parse_rules("a b"), "'a b' does not say what");
  fails(gstmmap::parse_rules(".a"), "does not say what");
  fails(gstmmap::parse_rules("a."), "does not say what");
  fails(gstmmap::parse_rules("bitrate="), "does not say what");
  fails(gstmmap::parse_rules("bitrate=8..5"), "'8..5' in 'bitrate=8..5' is no range");
  fails(gstmmap::parse_rules("bitrate=a..5"), "is no range");
  fails(gstmmap::parse_rules("bitrate=..5"), "is no range");
  fails(gstmmap::parse_rules("bitrate,bitrate=5..6"), "'bitrate' is allowed twice");
}

TEST(rules_are_about_what_is_there) {
  const auto bin = bin_of(kLaunch);
  fail_unless(static_cast<bool>(gstmmap::check_rules(rules_of(kRules), bin.get())));
  const auto check = [&](const char* text) {
    return gstmmap::check_rules(rules_of(text), bin.get());
  };
  fails(check("bitrat"), "no element of the launch line has the property bitrat");
  fails(check("other.bitrate"), "has the property other.bitrate");
  fails(check("first.bitrate"), "has the property first.bitrate");
  fails(check("parent"), "the property parent is none that clients can be allowed to set");
  fails(check("last-message"), "the property last-message is none that clients");
  fails(check("speed-preset=1..2"), "the property speed-preset is no number");
  fails(check("speed-preset=fast|quick"), "'quick' is no value of the property speed-preset");
  fails(check("bitrate=500|no"), "'no' is no value of the property bitrate");
}

TEST(what_keeps_to_the_rules_is_set) {
  const auto bin = bin_of(kLaunch);
  const Params params{{"bitrate", "8000"},
                      {"speed-preset", "fast"},
                      {"enc.key-int-max", "7"},
                      {"x264enc.option-string", "a=b, c"},
                      {"silent", "false"}};
  auto set = gstmmap::apply(params, rules_of(kRules), bin.get(), false);
  fail_unless(static_cast<bool>(set), "%s", set ? "" : set.error().text.c_str());
  fail_unless_equals_int(number(bin.get(), "enc", "bitrate"), 8000);
  fail_unless_equals_int(number(bin.get(), "enc", "speed-preset"), 5);
  fail_unless_equals_int(number(bin.get(), "enc", "key-int-max"), 7);
  // Of the first that has it.
  fail_unless_equals_int(number(bin.get(), "first", "silent"), FALSE);
  fail_unless_equals_int(number(bin.get(), "last", "silent"), FALSE);
}

TEST(what_does_not_is_not_and_nothing_of_the_rest) {
  const auto bin = bin_of(kLaunch);
  const std::string allowed = "; allowed: " + gstmmap::name_of(rules_of(kRules));
  const auto apply = [&](const char* name, const std::string& value, bool playing = false) {
    const Params params{{"enc.key-int-max", "7"}, {name, value}};
    auto set = gstmmap::apply(params, rules_of(kRules), bin.get(), playing);
    fail_unless_equals_int(number(bin.get(), "enc", "key-int-max"), 0);
    return set;
  };
  fails(apply("location", "/etc/passwd"), "the parameter location may not be set" + allowed);
  fails(apply("x264enc.bitrate", "600"), "the parameter x264enc.bitrate may not be set" + allowed);
  for (const char* value : {"499", "8001", "-1", "", "fast", "600x", "nan", "1e99", "0x1000000000"})
    fails(apply("bitrate", value), "the parameter bitrate may not be ");
  fails(apply("bitrate", "600.5"), "which is no value of that property");
  for (const char* value : {"slow", "5", "", "fast|medium"})
    fails(apply("speed-preset", value), "the parameter speed-preset may not be ");
  fails(apply("silent", "maybe"), "which is no value of that property" + allowed);
  const Params twice{{"enc.key-int-max", "-1"}};
  fails(gstmmap::apply(twice, rules_of(kRules), bin.get(), false), "may not be -1");
  fails(gstmmap::apply(twice, {}, bin.get(), false), "; allowed: nothing");
}

TEST(while_playing_only_what_can_be) {
  const auto bin = bin_of(kLaunch);
  const auto rules = rules_of(kRules);
  fail_unless(static_cast<bool>(gstmmap::apply({{"bitrate", "900"}}, rules, bin.get(), true)));
  fail_unless_equals_int(number(bin.get(), "enc", "bitrate"), 900);
  fails(gstmmap::apply({{"bitrate", "901"}, {"enc.key-int-max", "7"}}, rules, bin.get(), true),
        "the parameter enc.key-int-max can't be changed while playing; allowed: bitrate");
  fail_unless_equals_int(number(bin.get(), "enc", "bitrate"), 900);
}
