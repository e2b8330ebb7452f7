#include "gst/session.h"

#include <atomic>
#include <utility>

using mmaplink::Fd;
using mmaplink::Status;

namespace gstmmap {

namespace {

class LocalSession final : public Session, public std::enable_shared_from_this<LocalSession> {
 public:
  LocalSession(GMainContext* context, Events events)
      : context_(context), events_(std::move(events)) {}

  Status begin(const Media::Plan& plan, Fd& socket) override {
    auto media = Media::make(plan, socket, events_.construct ? events_.construct() : nullptr,
                             events_.may_have);
    if (!media) return media.error();
    media_ = *media;
    if (events_.constructed) events_.constructed(media_->pipeline());
    if (auto prepared = media_->prepare(socket); !prepared) return prepared;
    if (auto played = media_->play(); !played) return played;
    media_->watch(context_, [kept = weak_from_this()](Media::Event event, const std::string& text) {
      if (const auto self = kept.lock()) self->see(event, text);
    });
    return mmaplink::ok();
  }
  void drain() override {
    draining_ = true;
    if (media_) media_->drain();
  }
  void ask_status(OnStatus told) override {
    told(media_ ? media_->status() : mmaplink::StatusLines());
  }
  void end() override {
    if (media_) media_->stop();
  }

 private:
  void see(Media::Event event, const std::string& text) {
    switch (event) {
      case Media::Event::error:
        return events_.on_error(text);
      case Media::Event::left:
        return events_.on_gone("it left");
      case Media::Event::ended:
        // Else the client may seek, and go on.
        if (draining_) events_.on_gone("its stream was ended");
    }
  }

  GMainContext* const context_;
  const Events events_;
  std::shared_ptr<Media> media_;
  std::atomic<bool> draining_{false};
};

}  // namespace

std::shared_ptr<Session> make_session(GMainContext* context, Session::Events events) {
  return std::make_shared<LocalSession>(context, std::move(events));
}

}  // namespace gstmmap
