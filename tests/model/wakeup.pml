/* A reader that sleeps on an empty ring and a writer that sleeps on a full one wake each other.
 *
 * Models   SendLane::publish, announce_head and wait_for_room, ReceiveLane::take and wait, and what
 *          Sender::publish and Source::turn do around them: a kick ends each wait, and a peer that
 *          has hung up is read to its end. All SYNC comments on full fences but those on `revoked`
 *          and receipts.
 * Faults   NO_FENCE_HEAD, NO_FENCE_READER, NO_FENCE_CLAIMED, NO_FENCE_WANTS: without that fence.
 *          NUMBERED: the reader numbers its waits, and each is woken once, whether or not what was
 *          published was what it waits for. NO_KICK: hanging up kicks nobody. KICK_LATE: `seen` is
 *          read after the look at what it stands for. CLOSING_LATE: whether the peer is gone is
 *          looked at after the ring. NO_WAKE_ROOM: the reader does not wake the writer.
 * Leaves   what is in the ring (ring.pml), withdrawing (withdraw.pml), receipts (receipts.pml).
 */
#include "words.pml"

#ifndef ITEMS
#define ITEMS 3
#endif
#ifndef MOST
#define MOST 2 /* items waiting to be read */
#endif

Word head, writer_wants;      /* the sender's half */
Word claimed, reader_waiting; /* the receiver's half */

byte index; /* what the receiver has taken */

byte sender_kicks, receiver_kicks;
bool waits_for_head, waits_for_claimed, waits_for_sender_kick, waits_for_receiver_kick;

bool sender_dies, receiver_dies;  /* now, wherever it is */
bool sender_gone, receiver_gone;  /* and all it has stored has arrived */
bool sender_alone, receiver_alone; /* the peer has hung up, and we know */
bool interrupted;                 /* the sender, by its application */
bool sender_ends, receiver_ends;

#define MAX(a, b) ((a) > (b) -> (a) : (b))

proctype sender() {
  byte published, claimed_seen, kick_seen, wants, now, woken;
  {
    do
    :: published == ITEMS -> break
    :: else ->
#ifndef KICK_LATE
      kick_seen = sender_kicks;
#endif
      if
      :: interrupted || sender_alone -> break
      :: else
      fi;
#ifdef KICK_LATE
      kick_seen = sender_kicks;
#endif
      if
      :: published - claimed_seen >= MOST -> claimed_seen = claimed.seen
      :: else
      fi;
      if
      :: published - claimed_seen < MOST ->
        published++;
        STORE(head, published);
#ifndef NO_FENCE_HEAD
        FENCE(head);
#endif
        now = reader_waiting.seen;
        if
#ifdef NUMBERED
        :: now != 0 && now != woken ->
#else
        :: now != 0 && now != woken && published >= now ->
#endif
          woken = now;
          waits_for_head = false
        :: else
        fi
      :: else ->
        if /* by how fast the reader is */
        :: wants = MAX(published - MOST / 2, claimed_seen + 1)
        :: wants = claimed_seen + 1
        fi;
        STORE(writer_wants, wants);
#ifndef NO_FENCE_WANTS
        FENCE(writer_wants);
#endif
        now = claimed.seen;
        if
        :: now < wants ->
          WAIT(claimed, now, waits_for_claimed, sender_kicks, kick_seen, waits_for_sender_kick)
        :: else
        fi;
        STORE(writer_wants, 0)
      fi
    od
  } unless { sender_dies };
  atomic { waits_for_claimed = false; waits_for_sender_kick = false; sender_ends = true }
}

proctype receiver() {
  byte kick_seen, wants, now, woken;
  bool closing;
#ifdef NUMBERED
  byte episode;
#endif
  {
    do
    :: kick_seen = receiver_kicks;
#ifndef CLOSING_LATE
      closing = receiver_alone;
#endif
      if
      :: head.seen != index ->
        index++;
        STORE(claimed, index);
#ifndef NO_FENCE_CLAIMED
        FENCE(claimed);
#endif
        wants = writer_wants.seen;
        if
#ifndef NO_WAKE_ROOM
        :: wants != 0 && wants != woken && index >= wants ->
          woken = wants;
          waits_for_claimed = false
#endif
        :: else
        fi
      :: else ->
#ifdef CLOSING_LATE
        closing = receiver_alone;
#endif
        if
        :: closing ->
          assert(head.seen == index); /* what was published before the peer died has been read */
          break
        :: else
        fi;
#ifdef NUMBERED
        episode++;
        STORE(reader_waiting, episode);
#else
        STORE(reader_waiting, index + 1);
#endif
#ifndef NO_FENCE_READER
        FENCE(reader_waiting);
#endif
        now = head.seen;
        if
        :: now == index ->
          WAIT(head, now, waits_for_head, receiver_kicks, kick_seen, waits_for_receiver_kick)
        :: else
        fi;
        STORE(reader_waiting, 0)
      fi
    od
  } unless { receiver_dies };
  atomic { waits_for_head = false; waits_for_receiver_kick = false; receiver_ends = true }
}

proctype memory() {
end:
  do
  :: ARRIVE(head)
  :: ARRIVE(writer_wants)
  :: ARRIVE(claimed)
  :: ARRIVE(reader_waiting)
  od
}

/* One of the two dies at any step, or none does; the application interrupts the sender, or not. */
proctype fate() {
  if
  :: sender_dies = true
  :: receiver_dies = true
  :: interrupted = true;
    atomic { sender_kicks++; waits_for_sender_kick = false }
  :: skip
  fi
}

/* The thread of each endpoint that finds the socket closed. */
proctype hang_up() {
end:
  do
  :: atomic { sender_dies && sender_ends && !head.held && !writer_wants.held && !sender_gone ->
      sender_gone = true }
    receiver_alone = true;
#ifndef NO_KICK
    atomic { receiver_kicks++; waits_for_receiver_kick = false }
#endif
  :: atomic { receiver_dies && receiver_ends && !receiver_gone -> receiver_gone = true }
    sender_alone = true;
#ifndef NO_KICK
    atomic { sender_kicks++; waits_for_sender_kick = false }
#endif
  od
}

/* When nothing moves any more, nobody sleeps who has something to do. */
proctype rest() {
end:
  timeout;
  assert(sender_ends);
  assert(receiver_ends || (!sender_gone && waits_for_head && index == head.seen));
  assert(sender_dies || receiver_dies || interrupted || index == ITEMS);
  receiver_dies = true
}

init {
  atomic {
    run sender(); run receiver(); run memory(); run fate(); run hang_up(); run rest()
  }
}

/* Everybody comes to rest. */
ltl ends { <> (sender_ends && receiver_ends) }
