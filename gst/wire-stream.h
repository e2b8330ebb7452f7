// What events carry besides numbers and structures: tags, streams and tables of contents.
//
// put_…() is false where something can't cross; get_…() is empty where the bytes make no sense.
#pragma once

#include <gst/gst.h>

#include <memory>

#include "gst/bytes.h"

namespace gstmmap {

struct UnrefStream {
  void operator()(GstTagList* tags) const { gst_tag_list_unref(tags); }
  void operator()(GstStream* stream) const { gst_object_unref(stream); }
  void operator()(GstStreamCollection* streams) const { gst_object_unref(streams); }
  void operator()(GstToc* toc) const { gst_toc_unref(toc); }
  void operator()(GstTocEntry* entry) const { gst_toc_entry_unref(entry); }
};
template <class T>
using OwnStream = std::unique_ptr<T, UnrefStream>;

// Of a list all that can cross.
void put_tags(const GstTagList* tags, BytesOut& to);
OwnStream<GstTagList> get_tags(BytesIn& from);

bool put_stream(GstStream* stream, BytesOut& to);
OwnStream<GstStream> get_stream(BytesIn& from);

bool put_streams(GstStreamCollection* streams, BytesOut& to);
OwnStream<GstStreamCollection> get_streams(BytesIn& from);

bool put_toc(GstToc* toc, BytesOut& to);
OwnStream<GstToc> get_toc(BytesIn& from);

}  // namespace gstmmap
