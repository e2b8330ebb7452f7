/* Descriptors go back by receipts, and a sender that has no memory left sleeps until some come.
 *
 * Models   SendLane::drain, watch_receipts, stop_watching, open_row, close_row and free_all,
 *          ReceiveLane::give_back, and the waits of Sender: allocate() with wait_for_memory() and
 *          made_progress(), the thread of collect_always(). The SYNC comments on receipts, and the
 *          one in Sender::made_progress. The receiver may die at any step.
 * Claims   each ticket that comes back is one that is out, and comes once; nobody sleeps while
 *          there are receipts for them, or memory; each hold is let go of once.
 * Faults   NO_FENCE_GIVE, NO_FENCE_WATCH: without that fence. NUMBERED: as in wakeup.pml.
 *          WATCH_HEAD: what is waited for is more receipts than there are, instead of more than
 *          were read. STOP_EARLY: who stops watching forgets the others. LATE_WAITER: counted as waiting
 *          only after it has looked. NO_KICK: progress made by others kicks nobody. FREED_TWICE:
 *          what a dead peer held is freed and its receipts still count.
 * Leaves   the ring, in which a ticket goes out at once here; receipts of skipped items
 *          (withdraw.pml); a sender that dies, for receipts nobody reads do no harm.
 */
#include "words.pml"

#ifndef ITEMS
#define ITEMS 4
#endif
#ifndef ROWS
#define ROWS 2
#endif
#define RECEIPTS (2 * ROWS)
#define NONE 255

Word receipt_head;          /* the receiver's half, with … */
byte receipts[RECEIPTS];
Word receipts_waiting;      /* the sender's half */

/* the sender's own, under its mutex: a ticket is an item's number times ROWS, plus its row */
bool mutex;
byte row_ticket[ROWS];
byte receipts_read, watchers;
bool closed;
#ifdef NUMBERED
byte episode;
#endif

byte opened, freed;         /* rows, ever */
byte progress, memory_waiters, kicks;
bool quit, sender_alone, publisher_ends, collector_ends;

#define PUBLISHER 0
#define COLLECTOR 1
bool at_receipt[2], at_kick[2];

chan out = [ROWS] of { byte }; /* tickets the receiver holds */
bool receiver_dies, receiver_ends;

#define LOCK atomic { !mutex -> mutex = true }
#define UNLOCK mutex = false

inline kick_all() { atomic { kicks++; at_kick[PUBLISHER] = false; at_kick[COLLECTOR] = false } }

inline made_progress() {
  progress++;
  if
#ifndef NO_KICK
  :: memory_waiters > 0 -> kick_all()
#endif
  :: else
  fi
}

/* Sender::collect */
inline collect() {
  now = 0;
  if
  :: receipt_head.seen != receipts_read ->
    LOCK;
    now = receipt_head.seen;
    atomic {
      now = now - receipts_read;
      i = now;
      do
      :: i > 0 ->
        ticket = receipts[receipts_read % RECEIPTS];
        receipts_read++;
        i--;
        if
        :: row_ticket[ticket % ROWS] == ticket -> row_ticket[ticket % ROWS] = NONE; freed++
#ifndef FREED_TWICE
        :: else -> assert(closed)
#else
        :: else -> freed++
#endif
        fi
      :: else -> break
      od
    }
    UNLOCK;
    if
    :: now > 0 -> made_progress()
    :: else
    fi
  :: else
  fi
}

/* Sender::wait_for_receipts */
inline sleep_until_receipt(who) {
  LOCK;
  watchers++;
#ifdef NUMBERED
  episode++;
  STORE(receipts_waiting, episode);
#elif defined(WATCH_HEAD)
  STORE(receipts_waiting, receipt_head.seen + 1);
#else
  STORE(receipts_waiting, receipts_read + 1);
#endif
#ifndef NO_FENCE_WATCH
  FENCE(receipts_waiting);
#endif
#ifdef WATCH_HEAD
  now = receipt_head.seen;
#else
  now = receipts_read;
#endif
  UNLOCK;
  WAIT(receipt_head, now, at_receipt[who], kicks, kicks_seen, at_kick[who]);
  LOCK;
  watchers--;
  if
#ifdef STOP_EARLY
  :: true -> STORE(receipts_waiting, 0)
#else
  :: watchers == 0 -> STORE(receipts_waiting, 0)
  :: else
#endif
  fi;
  UNLOCK
}

proctype publisher() {
  byte i, now, ticket, kicks_seen, progress_seen, item;
  do
  :: item == ITEMS || sender_alone -> break
  :: else ->
    progress_seen = progress;
    LOCK;
    atomic {
      i = 0;
      do
      :: i < ROWS && row_ticket[i] != NONE -> i++
      :: else -> break
      od;
      if
      :: i < ROWS && !closed ->
        row_ticket[i] = item * ROWS + i;
        opened++;
        out!row_ticket[i];
        item++
      :: else
      fi
    }
    UNLOCK;
    if
    :: i < ROWS
    :: else -> /* Sender::wait_for_memory */
#ifndef LATE_WAITER
      memory_waiters++;
#endif
      do
      :: kicks_seen = kicks;
        collect();
        if
        :: progress != progress_seen || sender_alone -> break
        :: else
        fi;
#ifdef LATE_WAITER
        kicks_seen = kicks;
        memory_waiters = 1;
#endif
        sleep_until_receipt(PUBLISHER)
      od;
      memory_waiters = 0
    fi
  od;
  publisher_ends = true
}

#ifdef WITH_COLLECTOR
active proctype collector() {
  byte i, now, ticket, kicks_seen;
  do
  :: kicks_seen = kicks;
    if
    :: quit -> break
    :: else
    fi;
    sleep_until_receipt(COLLECTOR);
    collect()
  od;
  collector_ends = true
}
#endif

proctype receiver() {
  byte ticket, given, wants, woken;
  {
end:
    do
    :: out?ticket ->
give:
      assert(given - receipts_read < RECEIPTS);
      receipts[given % RECEIPTS] = ticket;
      given++;
      STORE(receipt_head, given);
#ifndef NO_FENCE_GIVE
      FENCE(receipt_head);
#endif
      wants = receipts_waiting.seen;
      if
#ifdef NUMBERED
      :: wants != 0 && wants != woken ->
#else
      :: wants != 0 && wants != woken && given >= wants ->
#endif
        woken = wants;
        atomic { at_receipt[PUBLISHER] = false; at_receipt[COLLECTOR] = false }
      :: else
      fi
    od
  } unless { receiver_dies };
  receiver_ends = true
}

proctype memory() {
end:
  do
  :: ARRIVE(receipt_head)
  :: ARRIVE(receipts_waiting)
  od
}

/* The thread of the endpoint: Sender::remove. */
proctype hang_up() {
  byte i;
  receiver_dies = true;
  receiver_ends && !receipt_head.held;
  sender_alone = true;
  LOCK;
  atomic {
    closed = true;
    do
    :: i < ROWS ->
      if
      :: row_ticket[i] != NONE -> freed++;
#ifndef FREED_TWICE
        row_ticket[i] = NONE
#endif
      :: else
      fi;
      i++
    :: else -> break
    od
  }
  UNLOCK;
  made_progress();
  kick_all()
}

proctype fate() {
  if
  :: run hang_up()
  :: skip
  fi
}

proctype rest() {
end:
  timeout;
  assert(publisher_ends);
  assert(opened == ITEMS || closed);
#ifdef WITH_COLLECTOR
  assert(freed == opened);
#else
  assert(!closed || freed == opened);
#endif
  quit = true;
  kick_all()
}

init {
  atomic {
    row_ticket[0] = NONE;
    row_ticket[ROWS - 1] = NONE;
    run publisher(); run receiver(); run memory(); run fate(); run rest()
  }
}

#ifdef WITH_COLLECTOR
ltl ends { <> (publisher_ends && collector_ends) }
#else
ltl ends { <> publisher_ends }
#endif
