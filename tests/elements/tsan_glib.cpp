// What ThreadSanitizer does not see of GLib and GStreamer, which are not built with it: that their
// locks, queues and reference counts order what the threads around them do. Each of their functions
// that does so is replaced here by one that calls it and says so. Part of each test of the elements
// in a build with -Db_sanitize=thread, where symbols of the program go before those of libraries.
//
// What a library calls inside itself does not come by here, and tests/tsan.supp has what is left.
#include <dlfcn.h>
#include <glib.h>
#include <gst/gst.h>

#include <thread>

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}

namespace {

// The library's own function of that name.
template <class Function>
Function* own(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

void order(void* address) {
  __tsan_acquire(address);
  __tsan_release(address);
}

// Has all before it happen before whoever drops the last reference frees the object.
void drop(GstMiniObject* object) {
  const bool is_buffer = object->type == GST_TYPE_BUFFER;
  order(object);
  if (!is_buffer) return;
  // Its memories are dropped inside the library.
  auto* buffer = reinterpret_cast<GstBuffer*>(object);
  for (guint i = 0; i < gst_buffer_n_memory(buffer); ++i) order(gst_buffer_peek_memory(buffer, i));
}

// Locks of libc that ThreadSanitizer does not look at. GStreamer's recursive ones (of states, of
// streams) are taken in any order by design: a flush keeps them from waiting for each other. What
// is only tried is in no order with what was locked before, so each is waited for unseen and then
// tried for. The order of all other locks is looked at.
struct Unseen {
  int (*lock)(void*);
  int (*unlock)(void*);
};
const Unseen& libc() {
  static const Unseen unseen = [] {
    void* library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    return Unseen{reinterpret_cast<int (*)(void*)>(dlsym(library, "pthread_mutex_lock")),
                  reinterpret_cast<int (*)(void*)>(dlsym(library, "pthread_mutex_unlock"))};
  }();
  return unseen;
}

// ThreadSanitizer's own thread begins with the first other one. From here on it is there, for tests
// that count threads.
[[maybe_unused]] const bool has_thread = [] {
  std::thread([] {}).join();
  return true;
}();

}  // namespace

#define OWN(name) static auto* const real = own<decltype(name)>(#name)

extern "C" {

void(g_mutex_lock)(GMutex* mutex) {
  OWN(g_mutex_lock);
  real(mutex);
  __tsan_acquire(mutex);
}

gboolean(g_mutex_trylock)(GMutex* mutex) {
  OWN(g_mutex_trylock);
  const gboolean locked = real(mutex);
  if (locked) __tsan_acquire(mutex);
  return locked;
}

void(g_mutex_unlock)(GMutex* mutex) {
  OWN(g_mutex_unlock);
  __tsan_release(mutex);
  real(mutex);
}

void g_rec_mutex_init(GRecMutex* mutex) {
  OWN(g_rec_mutex_init);
  real(mutex);
  __tsan_release(mutex);
}

void g_rec_mutex_lock(GRecMutex* mutex) {
  __tsan_acquire(mutex);
  if (g_rec_mutex_trylock(mutex)) return;
  libc().lock(mutex->p);
  g_rec_mutex_trylock(mutex);
  libc().unlock(mutex->p);
}

void g_cond_wait(GCond* cond, GMutex* mutex) {
  OWN(g_cond_wait);
  __tsan_release(mutex);
  real(cond, mutex);
  __tsan_acquire(mutex);
}

gboolean g_cond_wait_until(GCond* cond, GMutex* mutex, gint64 end) {
  OWN(g_cond_wait_until);
  __tsan_release(mutex);
  const gboolean in_time = real(cond, mutex, end);
  __tsan_acquire(mutex);
  return in_time;
}

gboolean(g_once_init_enter)(volatile void* location) {
  OWN(g_once_init_enter);
  const gboolean first = real(location);
  __tsan_acquire(const_cast<void*>(location));
  return first;
}

void(g_once_init_leave)(volatile void* location, gsize result) {
  OWN(g_once_init_leave);
  __tsan_release(const_cast<void*>(location));
  real(location, result);
}

void g_async_queue_push(GAsyncQueue* queue, gpointer data) {
  OWN(g_async_queue_push);
  __tsan_release(queue);
  real(queue, data);
}

gpointer g_async_queue_pop(GAsyncQueue* queue) {
  OWN(g_async_queue_pop);
  gpointer data = real(queue);
  __tsan_acquire(queue);
  return data;
}

gpointer g_async_queue_try_pop(GAsyncQueue* queue) {
  OWN(g_async_queue_try_pop);
  gpointer data = real(queue);
  __tsan_acquire(queue);
  return data;
}

gpointer g_async_queue_timeout_pop(GAsyncQueue* queue, guint64 timeout) {
  OWN(g_async_queue_timeout_pop);
  gpointer data = real(queue, timeout);
  __tsan_acquire(queue);
  return data;
}

void(g_object_unref)(gpointer object) {
  OWN(g_object_unref);
  order(object);
  real(object);
}

void gst_object_unref(gpointer object) {
  OWN(gst_object_unref);
  order(object);
  real(object);
}

void gst_mini_object_unref(GstMiniObject* object) {
  OWN(gst_mini_object_unref);
  drop(object);
  real(object);
}

gboolean gst_mini_object_replace(GstMiniObject** old, GstMiniObject* with) {
  OWN(gst_mini_object_replace);
  if (*old != nullptr) drop(*old);
  return real(old, with);
}

gboolean gst_bus_post(GstBus* bus, GstMessage* message) {
  OWN(gst_bus_post);
  __tsan_release(bus);
  return real(bus, message);
}

GstMessage* gst_bus_timed_pop_filtered(GstBus* bus, GstClockTime timeout, GstMessageType types) {
  OWN(gst_bus_timed_pop_filtered);
  GstMessage* message = real(bus, timeout, types);
  __tsan_acquire(bus);
  return message;
}

}  // extern "C"
