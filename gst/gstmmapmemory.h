/* GstMemory in an arena: sealed shared memory that mmapsink and mmapsrc pass between processes.
 *
 * A sender's memory is writable and comes from an allocator or pool that mmapsink proposes. A
 * receiver's memory is read-only (GST_MEMORY_FLAG_READONLY), and is given back to the sender when
 * its last reference is dropped; it stays readable after the sender, the link and the elements are
 * gone.
 */
#pragma once

#include "mmap-prelude.h"

G_BEGIN_DECLS

/**
 * GST_MMAP_MEMORY_TYPE:
 *
 * What gst_memory_is_type() takes for memory in an arena.
 *
 * Since: 0.1
 */
#define GST_MMAP_MEMORY_TYPE "MmapMemory"

/**
 * GstMmapAllocator:
 *
 * Of memory in a sender's arenas. mmapsink proposes one in its answer to an ALLOCATION query; made
 * by g_object_new() it has no arenas, and allocates nothing.
 *
 * Since: 0.1
 */
typedef struct _GstMmapAllocator GstMmapAllocator;
typedef struct _GstMmapAllocatorClass GstMmapAllocatorClass;

#define GST_TYPE_MMAP_ALLOCATOR (gst_mmap_allocator_get_type())
GST_MMAP_API GType gst_mmap_allocator_get_type(void);

/**
 * gst_is_mmap_memory:
 * @mem: (nullable): a #GstMemory
 *
 * Any thread.
 *
 * Returns: %TRUE if @mem lies in an arena, this process's own or a peer's
 *
 * Since: 0.1
 */
GST_MMAP_API gboolean gst_is_mmap_memory(GstMemory* mem);

/**
 * gst_mmap_memory_get_fd:
 * @mem: memory for which gst_is_mmap_memory() is true
 *
 * The same arena has the same inode (fstat(2)) in the process that writes it and in those that read
 * it. Any thread.
 *
 * Returns: the descriptor of the arena @mem lies in, valid as long as @mem is, and not to be
 * closed; -1 for other memory, and for memory in a file that the property `mmap` names.
 *
 * Since: 0.1
 */
GST_MMAP_API gint gst_mmap_memory_get_fd(GstMemory* mem);

/**
 * gst_mmap_memory_get_offset:
 * @mem: memory for which gst_is_mmap_memory() is true
 *
 * Any thread.
 *
 * Returns: where the first valid byte of @mem lies in its arena, in bytes; 0 for other memory.
 *
 * Since: 0.1
 */
GST_MMAP_API guint64 gst_mmap_memory_get_offset(GstMemory* mem);

G_END_DECLS
