#include "gst/rules.h"

#include <algorithm>
#include <memory>

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Result;
using mmaplink::Status;

namespace gstmmap {

namespace {

struct Unref {
  void operator()(gpointer object) const { gst_object_unref(object); }
};
using Element = std::unique_ptr<GstElement, Unref>;

// Those of a bin are in there latest first.
void collect(GstElement* element, std::vector<Element>& all) {
  if (!GST_IS_BIN(element)) {
    all.emplace_back(GST_ELEMENT(gst_object_ref(element)));
    return;
  }
  std::vector<Element> children;
  GST_OBJECT_LOCK(element);
  for (GList* one = GST_BIN_CHILDREN(element); one != nullptr; one = one->next)
    children.emplace_back(GST_ELEMENT(gst_object_ref(one->data)));
  GST_OBJECT_UNLOCK(element);
  std::reverse(children.begin(), children.end());
  for (const auto& child : children) collect(child.get(), all);
}

bool is_called(GstElement* element, std::string_view name) {
  GstElementFactory* factory = gst_element_get_factory(element);
  gchar* own = gst_object_get_name(GST_OBJECT(element));
  const bool is = own == name || (factory != nullptr && GST_OBJECT_NAME(factory) == name);
  g_free(own);
  return is;
}

bool may_be_set(const GParamSpec* spec) {
  return (spec->flags & G_PARAM_WRITABLE) != 0 && (spec->flags & G_PARAM_CONSTRUCT_ONLY) == 0 &&
         (G_TYPE_FUNDAMENTAL(spec->value_type) == spec->value_type ||
          G_TYPE_IS_ENUM(spec->value_type) || G_TYPE_IS_FLAGS(spec->value_type)) &&
         spec->value_type != G_TYPE_POINTER;
}

struct Found {
  Element element;
  GParamSpec* spec = nullptr;  // its class has it
};

Result<Found> find(const Rule& rule, GstElement* bin) {
  std::string_view name = rule.property;
  std::string_view of;
  if (const size_t dot = name.rfind('.'); dot != std::string_view::npos) {
    of = name.substr(0, dot);
    name.remove_prefix(dot + 1);
  }
  const std::string property(name);
  std::vector<Element> all;
  collect(bin, all);
  for (auto& element : all) {
    if (!of.empty() && !is_called(element.get(), of)) continue;
    GParamSpec* spec =
        g_object_class_find_property(G_OBJECT_GET_CLASS(element.get()), property.c_str());
    if (spec == nullptr) continue;
    if (!may_be_set(spec))
      return Error{Failure::settings, "the property " + rule.property +
                                          " is none that clients can be allowed to set: it takes "
                                          "one that can be written, of a plain type"};
    return Found{std::move(element), spec};
  }
  return Error{Failure::settings, "no element of the launch line has the property " +
                                      rule.property + ", which clients are allowed to set"};
}

std::optional<double> number_in(std::string_view text) {
  const std::string copy(text);
  gchar* end = nullptr;
  const double value = g_ascii_strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || value != value) return std::nullopt;
  return value;
}

struct Range {
  double from = 0;
  double to = 0;
};

// Nothing where it is none.
std::optional<Range> range_in(const std::string& values) {
  const size_t dots = values.find("..");
  if (dots == std::string::npos) return std::nullopt;
  const auto from = number_in(std::string_view(values).substr(0, dots));
  const auto to = number_in(std::string_view(values).substr(dots + 2));
  if (!from || !to || *from > *to) return std::nullopt;
  return Range{*from, *to};
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t from = 0;;) {
    const size_t end = text.find(at, from);
    parts.push_back(text.substr(from, end - from));
    if (end == std::string_view::npos) return parts;
    from = end + 1;
  }
}

bool is_one_of(std::string_view values, std::string_view value) {
  const auto all = split(values, '|');
  return std::find(all.begin(), all.end(), value) != all.end();
}

bool is_number(GType type) {
  for (const GType one : {G_TYPE_CHAR, G_TYPE_UCHAR, G_TYPE_INT, G_TYPE_UINT, G_TYPE_LONG,
                          G_TYPE_ULONG, G_TYPE_INT64, G_TYPE_UINT64, G_TYPE_FLOAT, G_TYPE_DOUBLE})
    if (type == one) return true;
  return false;
}

struct Value {
  Value() = default;
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  ~Value() {
    if (G_IS_VALUE(&value)) g_value_unset(&value);
  }
  GValue value = G_VALUE_INIT;
};

// False where the text is no value of that property.
bool read(const GParamSpec* spec, const std::string& text, Value& into) {
  auto* own = const_cast<GParamSpec*>(spec);
  g_value_init(&into.value, spec->value_type);
  if (spec->value_type == G_TYPE_STRING) {
    g_value_set_string(&into.value, text.c_str());
  } else {
    // It takes suffixes and constants besides, of which a rule's range could not be compared.
    if (is_number(spec->value_type) && !number_in(text)) return false;
    if (!gst_value_deserialize_with_pspec(&into.value, text.c_str(), own)) return false;
  }
  // True where it had to be changed for it.
  return !g_param_value_validate(own, &into.value);
}

struct Change {
  Found found;
  std::unique_ptr<Value> value;
};

Error may_not(const std::string& what, const Rules& rules) {
  return {Failure::settings, what + "; allowed: " + name_of(rules)};
}

Result<Change> change_of(const std::string& name, const std::string& text, const Rules& rules,
                         GstElement* bin, bool playing) {
  const auto rule = std::find_if(rules.begin(), rules.end(),
                                 [&](const Rule& one) { return one.property == name; });
  if (rule == rules.end())
    return may_not("the parameter " + shortened(name) + " may not be set", rules);
  auto found = find(*rule, bin);
  if (!found) return found.error();
  const std::string said = "the parameter " + name + " may not be " + shortened(text);
  if (const auto range = range_in(rule->values)) {
    const auto number = number_in(text);
    if (!number || *number < range->from || *number > range->to) return may_not(said, rules);
  } else if (!rule->values.empty() && !is_one_of(rule->values, text)) {
    return may_not(said, rules);
  }
  auto value = std::make_unique<Value>();
  if (!read(found->spec, text, *value))
    return may_not(said + ", which is no value of that property", rules);
  constexpr guint kAnyTime = GST_PARAM_MUTABLE_PLAYING | GST_PARAM_CONTROLLABLE;
  if (playing && (found->spec->flags & kAnyTime) == 0)
    return may_not("the parameter " + name + " can't be changed while playing", rules);
  return Change{std::move(*found), std::move(value)};
}

}  // namespace

Result<Rules> parse_rules(std::string_view text) {
  Rules rules;
  if (text.empty()) return rules;
  for (const std::string_view part : split(text, ',')) {
    std::string one(part);
    one.erase(0, std::min(one.find_first_not_of(' '), one.size()));
    one.erase(one.find_last_not_of(' ') + 1);
    const size_t equals = one.find('=');
    Rule rule{one.substr(0, equals), equals == std::string::npos ? "" : one.substr(equals + 1)};
    const bool is_empty = rule.property.empty() || rule.property.front() == '.' ||
                          rule.property.back() == '.' ||
                          rule.property.find(' ') != std::string::npos;
    const bool has_values = equals != std::string::npos;
    if (is_empty || (has_values && rule.values.empty()))
      return Error{Failure::settings,
                   "'" + one +
                       "' does not say what clients may set: it takes NAME, NAME=FROM..TO "
                       "or NAME=ONE|OTHER, or ELEMENT.NAME for NAME"};
    if (rule.values.find("..") != std::string::npos && !range_in(rule.values))
      return Error{Failure::settings, "'" + rule.values + "' in '" + one +
                                          "' is no range of numbers, such as 500..8000"};
    if (std::any_of(rules.begin(), rules.end(),
                    [&](const Rule& other) { return other.property == rule.property; }))
      return Error{Failure::settings, "'" + rule.property + "' is allowed twice"};
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::string name_of(const Rules& rules) {
  std::string text;
  for (const auto& rule : rules) {
    if (!text.empty()) text += ", ";
    text += rule.property;
    if (!rule.values.empty()) text += "=" + rule.values;
  }
  return text.empty() ? "nothing" : text;
}

Status check_rules(const Rules& rules, GstElement* bin) {
  for (const auto& rule : rules) {
    auto found = find(rule, bin);
    if (!found) return found.error();
    if (range_in(rule.values) && !is_number(found->spec->value_type))
      return Error{Failure::settings, "the property " + rule.property + " is no number, and " +
                                          rule.values + " is a range of numbers"};
    if (rule.values.empty() || range_in(rule.values)) continue;
    for (const std::string_view part : split(rule.values, '|')) {
      const std::string one(part);
      Value value;
      if (!read(found->spec, one, value))
        return Error{Failure::settings,
                     "'" + one + "' is no value of the property " + rule.property};
    }
  }
  return mmaplink::ok();
}

Status apply(const Params& params, const Rules& rules, GstElement* bin, bool playing) {
  std::vector<Change> changes;
  for (const auto& [name, value] : params) {
    auto change = change_of(name, value, rules, bin, playing);
    if (!change) return change.error();
    changes.push_back(std::move(*change));
  }
  for (const auto& change : changes)
    g_object_set_property(G_OBJECT(change.found.element.get()), change.found.spec->name,
                          &change.value->value);
  return mmaplink::ok();
}

}  // namespace gstmmap
