#include "gst/tools/options.h"

#include <glib.h>
#include <gst/gst.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "lib/mode.h"

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Result;
using mmaplink::Status;

namespace {

Error wrong(std::string text) { return {Failure::settings, std::move(text)}; }

template <class T>
Status take_number(const std::string& name, const std::string& text, T most, T& into,
                   int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error == std::errc{} && end == text.data() + text.size() && value <= most) {
    into = value;
    return mmaplink::ok();
  }
  return wrong(name + "=" + text + " is no " + (base == 8 ? "octal " : "") + "number up to " +
               std::to_string(most));
}

Status take_bool(const std::string& name, const std::string& text, bool& into) {
  if (text != "true" && text != "false")
    return wrong(name + "=" + text + " is neither true nor false");
  into = text == "true";
  return mmaplink::ok();
}

constexpr uint32_t kDay = 24 * 60 * 60;

struct Setting {
  const char* name;
  const char* argument;  // in --help; nullptr: none
  const char* help;
  Status (*set)(Options&, const std::string&);
};

void set_profile(Options& to, const std::string& name, const std::string& launch,
                 const std::string& allow) {
  const auto found = std::find_if(to.profiles.begin(), to.profiles.end(),
                                  [&](const Profile& one) { return one.name == name; });
  Profile made{name, launch, allow};
  if (found == to.profiles.end())
    to.profiles.push_back(std::move(made));
  else
    *found = std::move(made);
}

const Setting kSettings[] = {
    {"socket-path", "PATH", "Listen there; may be given several times",
     [](Options& to, const std::string& value) {
       to.paths.push_back(value);
       return mmaplink::ok();
     }},
    {"profile", "NAME=LAUNCH", "What clients get that ask for NAME; may be given several times",
     [](Options& to, const std::string& value) {
       const size_t equals = value.find('=');
       if (equals == std::string::npos || equals == 0)
         return Status(wrong("profile=" + value + " is not NAME=LAUNCH"));
       set_profile(to, value.substr(0, equals), value.substr(equals + 1), "");
       return mmaplink::ok();
     }},
    {"default-profile", "NAME", "For clients that ask for none (default: the first)",
     [](Options& to, const std::string& value) {
       to.default_profile = value;
       return mmaplink::ok();
     }},
    {"allow", "RULES",
     "What clients may set, such as bitrate=500..8000,speed-preset=fast|medium,x264enc.key-int-max",
     [](Options& to, const std::string& value) {
       to.allow = value;
       return mmaplink::ok();
     }},
    {"mmap", "WORD", "As of mmapsrc: auto, yes, read, write, no, or a path (default: yes)",
     [](Options& to, const std::string& value) {
       if (auto mode = mmaplink::parse_mode(value, mmaplink::Role::server); !mode)
         return Status(wrong("mmap: " + mode.error().text));
       to.mmap = value;
       return mmaplink::ok();
     }},
    {"max-clients", "N", "Clients at a time, 1 to 1024 (default: 1024)",
     [](Options& to, const std::string& value) {
       if (value == "0") return Status(wrong("max-clients=0 lets nobody in"));
       return take_number("max-clients", value, uint32_t{1024}, to.max_clients);
     }},
    {"client-memory", "BYTES", "Each of a client's two elements here may make (default: 1 GiB)",
     [](Options& to, const std::string& value) {
       auto taken = take_number("client-memory", value, uint64_t{1} << 44, to.client_memory);
       if (taken && to.client_memory < 4096)
         return Status(wrong("client-memory=" + value + " is less than a page, 4096"));
       return taken;
     }},
    {"max-memory", "BYTES", "For all clients, twice client-memory each (default: no limit)",
     [](Options& to, const std::string& value) {
       return take_number("max-memory", value, UINT64_MAX, to.max_memory);
     }},
    {"max-pixel-rate", "N", "Raw pixels a second of all clients together (default: no limit)",
     [](Options& to, const std::string& value) {
       return take_number("max-pixel-rate", value, UINT64_MAX, to.max_pixel_rate);
     }},
    {"isolate", nullptr, "A process for each client",
     [](Options& to, const std::string& value) { return take_bool("isolate", value, to.isolate); }},
    {"monitor", nullptr, "Show who may connect what goes on at all clients, as gst-mmap-top does",
     [](Options& to, const std::string& value) { return take_bool("monitor", value, to.monitor); }},
    {"perms", "MODE", "Of the sockets, as of chmod, such as 660 (default: 600)",
     [](Options& to, const std::string& value) {
       return take_number("perms", value, uint32_t{0777}, to.perms, 8);
     }},
    {"group", "GROUP", "Of the sockets, whose members may connect",
     [](Options& to, const std::string& value) {
       to.group = value;
       return mmaplink::ok();
     }},
    {"allowed-uids", "UIDS", "Who may connect, such as 0,1000",
     [](Options& to, const std::string& value) {
       to.allowed_uids = value;
       return mmaplink::ok();
     }},
    {"idle-timeout", "SECONDS", "Exit after so long without clients (default: never)",
     [](Options& to, const std::string& value) {
       return take_number("idle-timeout", value, kDay, to.idle_timeout);
     }},
    {"drain-timeout", "SECONDS", "For streams to end, on SIGTERM or SIGINT (default: 10)",
     [](Options& to, const std::string& value) {
       return take_number("drain-timeout", value, kDay, to.drain_timeout);
     }},
};

const Setting* setting(const std::string& name) {
  const auto* found = std::find_if(std::begin(kSettings), std::end(kSettings),
                                   [&](const Setting& one) { return name == one.name; });
  return found == std::end(kSettings) ? nullptr : found;
}

std::string taken(GError* error) {
  std::string text = error->message;
  g_error_free(error);
  return text;
}

struct FreeFile {
  void operator()(GKeyFile* file) const { g_key_file_free(file); }
};

// Of a group, one key's value; nothing where it is not there.
std::string value_of(GKeyFile* file, const char* group, const char* key) {
  gchar* value = g_key_file_get_string(file, group, key, nullptr);
  std::string text = value != nullptr ? value : "";
  g_free(value);
  return text;
}

// `call` gets each key of a group.
template <class Call>
Status each_key(GKeyFile* file, const char* group, Call call) {
  gchar** keys = g_key_file_get_keys(file, group, nullptr, nullptr);
  Status good = mmaplink::ok();
  for (gchar** key = keys; key != nullptr && *key != nullptr && good; ++key) good = call(*key);
  g_strfreev(keys);
  return good;
}

Status read_server(GKeyFile* file, Options& to) {
  return each_key(file, "server", [&](const char* key) -> Status {
    const Setting* known = setting(key);
    if (known == nullptr || g_str_equal(key, "profile")) {
      std::string text = std::string("[server] knows no ") + key + "; it knows:";
      for (const auto& one : kSettings)
        if (!g_str_equal(one.name, "profile")) text += std::string(" ") + one.name;
      return wrong(text);
    }
    if (!g_str_equal(key, "socket-path")) return known->set(to, value_of(file, "server", key));
    gchar** paths = g_key_file_get_string_list(file, "server", key, nullptr, nullptr);
    for (gchar** path = paths; path != nullptr && *path != nullptr; ++path)
      to.paths.emplace_back(*path);
    g_strfreev(paths);
    return mmaplink::ok();
  });
}

Status read_group(GKeyFile* file, const std::string& group, Options& to) {
  constexpr std::string_view kProfile = "profile ";
  if (group == "server") return read_server(file, to);
  if (!group.starts_with(kProfile) || group.size() == kProfile.size())
    return wrong("there is no [" + group + "]; there are [server] and [profile NAME]");
  auto known = each_key(file, group.c_str(), [&](const char* key) -> Status {
    if (g_str_equal(key, "launch") || g_str_equal(key, "allow")) return mmaplink::ok();
    return wrong("[" + group + "] knows no " + key + "; it knows: launch allow");
  });
  if (!known) return known;
  const std::string launch = value_of(file, group.c_str(), "launch");
  if (launch.empty()) return wrong("[" + group + "] has no launch=");
  set_profile(to, group.substr(kProfile.size()), launch, value_of(file, group.c_str(), "allow"));
  return mmaplink::ok();
}

Status read_file(const std::string& path, Options& to) {
  const std::unique_ptr<GKeyFile, FreeFile> file(g_key_file_new());
  GError* error = nullptr;
  if (!g_key_file_load_from_file(file.get(), path.c_str(), G_KEY_FILE_NONE, &error))
    return wrong(path + ": " + taken(error));
  gchar** groups = g_key_file_get_groups(file.get(), nullptr);
  Status good = mmaplink::ok();
  for (gchar** group = groups; *group != nullptr && good; ++group)
    good = read_group(file.get(), *group, to);
  g_strfreev(groups);
  if (!good) return wrong(path + ": " + good.error().text);
  return good;
}

gboolean take_option(const gchar* name, const gchar* value, gpointer data, GError**) {
  auto* line = static_cast<CommandLine*>(data);
  line->settings.emplace_back(name + 2, value != nullptr ? value : "true");  // behind its "--"
  return TRUE;
}

}  // namespace

Result<CommandLine> parse_command_line(int argc, char** argv) {
  CommandLine line;
  gchar* config = nullptr;
  gchar** rest = nullptr;
  gboolean version = FALSE;
  // As file names: these are taken as they are, in whatever locale this runs.
  std::vector<GOptionEntry> entries;
  for (const auto& one : kSettings)
    entries.push_back(
        {one.name, 0, one.argument == nullptr ? G_OPTION_FLAG_NO_ARG : G_OPTION_FLAG_FILENAME,
         G_OPTION_ARG_CALLBACK, reinterpret_cast<gpointer>(take_option), one.help, one.argument});
  entries.push_back({"config", 0, 0, G_OPTION_ARG_FILENAME, &config,
                     "Settings and profiles; read again on SIGHUP", "FILE"});
  entries.push_back({"version", 0, 0, G_OPTION_ARG_NONE, &version, "Say which this is", nullptr});
  entries.push_back(
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rest, nullptr, "[LAUNCH]"});
  entries.push_back({nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr});
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_set_summary(
      context,
      "Gives each client that comes to a socket-path a pipeline of its own: LAUNCH, such "
      "as 'x264enc tune=zerolatency', between its stream and what it gets back.");
  GOptionGroup* group = g_option_group_new("server", "", "", &line, nullptr);
  g_option_group_add_entries(group, entries.data());
  g_option_context_set_main_group(context, group);
  g_option_context_add_group(context, gst_init_get_option_group());
  GError* error = nullptr;
  const bool good = g_option_context_parse(context, &argc, &argv, &error);
  g_option_context_free(context);
  if (config != nullptr) line.config = config;
  for (gchar** word = rest; word != nullptr && *word != nullptr; ++word)
    line.launch += (line.launch.empty() ? "" : " ") + std::string(*word);
  g_free(config);
  g_strfreev(rest);
  if (!good) return wrong(taken(error));
  if (version) g_print("gst-mmap-server %s\n", GST_MMAP_VERSION);
  line.is_answered = version;
  return line;
}

Result<Options> read_options(const CommandLine& line) {
  Options options;
  if (!line.config.empty())
    if (auto read = read_file(line.config, options); !read) return read.error();
  const auto is_path = [](const auto& one) { return one.first == "socket-path"; };
  if (std::any_of(line.settings.begin(), line.settings.end(), is_path)) options.paths.clear();
  if (!line.launch.empty())
    options.profiles.insert(options.profiles.begin(), {"default", line.launch, ""});
  for (const auto& [name, value] : line.settings)
    if (auto set = setting(name)->set(options, value); !set) return wrong("--" + set.error().text);
  if (options.paths.empty()) return wrong("no --socket-path says where clients come");
  if (options.profiles.empty())
    return wrong("nothing says what clients get: LAUNCH, --profile, or a [profile] of --config");
  const auto is_default = [&](const Profile& one) { return one.name == options.default_profile; };
  if (!options.default_profile.empty() &&
      std::none_of(options.profiles.begin(), options.profiles.end(), is_default))
    return wrong("default-profile=" + options.default_profile + " is none of the profiles");
  for (auto& profile : options.profiles)
    if (profile.allow.empty()) profile.allow = options.allow;
  return options;
}
