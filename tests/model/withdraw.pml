/* A sender takes back what its reader has not begun to read.
 *
 * Models   SendLane::publish, withdraw (oldest and all), renew_row, close_row, drain and free_all,
 *          ReceiveLane::behind, take and give_back, in a ring that is used again and again. The
 *          SYNC comments on `revoked` and `claimed`. Either side may die at any step.
 * Claims   each item is taken at most once and in order; nothing that the reader was given is
 *          let go of before it gives it back; each hold is let go of once; an event arrives; frames
 *          arrive or were withdrawn; a reader never finds a slot that does not fit.
 * Faults   NO_FENCE_CLAIMED, NO_FENCE_REVOKED: without that fence. NO_SECOND_LOOK: what is claimed
 *          as we withdraw is not looked at again. NO_SKIP: the reader does not look at `revoked`.
 *          NO_SLOT_RULE, NO_EVENT_RULE: without the two conditions that leave things as they are.
 *          SAME_TICKET: what is published again keeps its ticket. TWICE: the reader does not
 *          remember what it has taken. DROP_SKIPPED: what is skipped gets no receipt.
 * Leaves   sleeping (wakeup.pml), receipts in a ring (receipts.pml): they go over a channel here.
 *          Items that repeat the bytes of others. An event may be in two rows at once, which share the
 *          block of its bytes; it has no hold of its own.
 */
#include "words.pml"

/* Which items are events, which must arrive. */
#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef ITEMS
#define ITEMS 3
#endif
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef MOST
#define MOST 1 /* frames waiting to be read */
#endif
#define IS_EVENT(item) ((EVENTS >> (item)) & 1)
#define TICKETS (ITEMS + 4)

typedef Slot { byte sequence, item, ticket, first };
Slot slots[SLOTS];
Word head, revoked; /* in the sender's half */
Word claimed;       /* in the receiver's half */
byte taken;
chan receipts = [TICKETS] of { byte, bool }; /* ticket, skipped */

/* what the sender knows of its slots and rows; a ticket names one use of a row */
typedef Queued { byte item, ticket, first };
Queued queued[SLOTS];
bool row_live[TICKETS];
byte row_item[TICKETS]; /* the item whose hold or block is in the row */
byte rows_of[ITEMS];    /* how many rows that is: an event's block may be in two */
byte tickets;

/* what really happened to each item */
byte released[ITEMS], delivered[ITEMS];
bool with_reader[ITEMS], withdrawn_item[ITEMS], skipped_item[ITEMS];

bool sender_dies, receiver_dies, sender_ends, receiver_ends, sender_alone, receiver_alone;

inline open_row(of_item) {
  ticket = tickets;
  tickets++;
  row_live[ticket] = true;
  row_item[ticket] = of_item;
  rows_of[of_item]++
}

inline close_row(of_ticket) {
  row_live[of_ticket] = false;
  rows_of[row_item[of_ticket]]--;
  if
  :: rows_of[row_item[of_ticket]] == 0 ->
    assert(!with_reader[row_item[of_ticket]] || sender_alone);
    released[row_item[of_ticket]]++;
    assert(released[row_item[of_ticket]] == 1)
  :: else
  fi
}

inline write(with_item, with_ticket, with_first) {
  atomic {
    queued[published % SLOTS].item = with_item;
    queued[published % SLOTS].ticket = with_ticket;
    queued[published % SLOTS].first = with_first;
    slots[published % SLOTS].sequence = 0
  }
  atomic {
    slots[published % SLOTS].item = with_item;
    slots[published % SLOTS].ticket = with_ticket;
    slots[published % SLOTS].first = with_first
  }
  slots[published % SLOTS].sequence = published + 1;
  published++
}

/* SendLane::refresh; how many frames wait is counted anew */
inline refresh() {
  now_taken = taken;
  atomic {
    now_claimed = claimed.seen;
    assert(now_claimed <= published && now_taken <= now_claimed)
  }
}

#define FIRST_WAITING (now_claimed > now_revoked -> now_claimed : now_revoked)

inline count_frames() {
  atomic {
    frames = 0;
    i = FIRST_WAITING;
    do
    :: i < published -> frames = frames + !IS_EVENT(queued[i % SLOTS].item); i++
    :: else -> break
    od
  }
}

inline drain() {
  do
  :: atomic { receipts?ticket, skipped ->
      assert(row_live[ticket] || skipped);
      if
      :: row_live[ticket] -> close_row(ticket)
      :: else
      fi }
  :: empty(receipts) -> break
  od
}

inline withdraw(all_of_them) {
  refresh();
  count_frames();
  atomic {
    done = false;
    first = FIRST_WAITING;
    in_use = (now_claimed != now_taken -> now_taken : first);
    if
    :: frames == 0 -> goto_out = true
    :: else -> goto_out = false
    fi;
#ifndef NO_EVENT_RULE
    if
    :: now_claimed != now_taken && now_claimed > now_revoked &&
       IS_EVENT(queued[(now_claimed - 1) % SLOTS].item) -> goto_out = true
    :: else
    fi;
#endif
    if
    :: all_of_them || (!goto_out && IS_EVENT(queued[first % SLOTS].item)) ->
      end_ = published;
      stay = published - first - (all_of_them -> frames : 0)
#ifndef NO_SLOT_RULE
      ;
      if
      :: published - in_use + stay > SLOTS -> goto_out = true
      :: else
      fi
#endif
    :: else -> end_ = first + 1; stay = 0
    fi
  }
  if
  :: goto_out
  :: else ->
    now_revoked = end_;
    STORE(revoked, end_);
#ifndef NO_FENCE_REVOKED
    FENCE(revoked);
#endif
    was_claimed = now_claimed;
#ifndef NO_SECOND_LOOK
    refresh();
#endif
    atomic {
      i = (first > was_claimed -> first : was_claimed);
      again = 0;
      do
      :: i < end_ ->
        if
        :: i < now_claimed && !IS_EVENT(queued[i % SLOTS].item)
        :: !(i < now_claimed && !IS_EVENT(queued[i % SLOTS].item)) &&
           !IS_EVENT(queued[i % SLOTS].item) && (all_of_them || !done) ->
          close_row(queued[i % SLOTS].ticket);
          withdrawn_item[queued[i % SLOTS].item] = true;
          done = true
        :: else ->
          again_item[again] = queued[i % SLOTS].item;
          again_first[again] = queued[i % SLOTS].first;
          ticket = queued[i % SLOTS].ticket;
#ifndef SAME_TICKET
          row = ticket;
          open_row(row_item[row]);
          if
          :: i < now_claimed
          :: else -> close_row(row)
          fi;
#endif
          again_ticket[again] = ticket;
          again++
        fi;
        i++
      :: else -> break
      od;
      i = 0
    }
    was_again = again;
    do
    :: i < was_again -> write(again_item[i], again_ticket[i], again_first[i]); i++
    :: else -> break
    od;
    if
    :: was_again > 0 -> STORE(head, published); FENCE(head)
    :: else
    fi
  fi
}

proctype sender() {
  byte published, item, now_claimed, now_taken, now_revoked, frames, i, in_use;
  byte ticket, first, end_, stay, was_claimed, again, was_again, row;
  byte again_item[SLOTS], again_ticket[SLOTS], again_first[SLOTS];
  bool skipped, done, goto_out, flushed;
  {
    do
    :: item == ITEMS || sender_alone -> break
    :: item < ITEMS && !sender_alone && !flushed && item > 1 ->
      withdraw(true); /* a flush, once, or a pad that is taken off */
      flushed = true
    :: item < ITEMS && !sender_alone ->
      refresh();
      count_frames();
      in_use = (now_claimed != now_taken -> now_taken : FIRST_WAITING);
      if
      :: published - in_use < SLOTS && (IS_EVENT(item) || frames < MOST) ->
        atomic { open_row(item); first = published + 1 }
        write(item, ticket, first);
        STORE(head, published);
        FENCE(head);
        item++
      :: else ->
        drain();
        if
        :: !IS_EVENT(item) && frames >= MOST -> withdraw(false)
        :: else
        fi
      fi
    od
  } unless { sender_dies };
  sender_ends = true;
  /* what is left comes back, or the reader dies and all of it is free */
  do
  :: sender_dies -> break
  :: !sender_dies && nempty(receipts) && !sender_alone -> drain()
  :: !sender_dies && sender_alone ->
    atomic {
      i = 0;
      do
      :: i < TICKETS ->
        if
        :: row_live[i] -> close_row(i)
        :: else
        fi;
        i++
      :: else -> break
      od
    }
    break
  :: !sender_dies && !sender_alone && receiver_ends && !receiver_dies && empty(receipts) -> break
  od;
  if
  :: !sender_dies ->
    i = 0;
    do
    :: i < item -> assert(released[i] == 1); i++
    :: else -> break
    od
  :: else
  fi
}

/* Stores arrive in order: `taken` not before `claimed`. */
inline finish() { atomic { !claimed.held -> taken = index } }

proctype receiver() {
  byte index, left, seen_revoked, item, ticket, sequence, first, last_first;
  bool withdrawn, closing, whole;
  {
    do
    :: closing = receiver_alone || (sender_ends && !sender_dies);
      left = head.seen - index;
      if
      :: left > SLOTS ->
        /* ReceiveLane::behind: the two indices are believed together */
        do
        :: seen_revoked = revoked.seen;
          left = head.seen;
          if
          :: revoked.seen == seen_revoked -> break
          :: else
          fi
        od;
        assert(seen_revoked >= index && left - seen_revoked <= SLOTS);
        index = (left - SLOTS > index -> left - SLOTS : index);
        left = left - index
      :: else
      fi;
      if
      :: left == 0 && closing -> break
      :: left == 0 && !closing
      :: left > 0 ->
        STORE(claimed, index + 1);
#ifndef NO_FENCE_CLAIMED
        FENCE(claimed);
#endif
#ifndef NO_SKIP
        withdrawn = revoked.seen > index;
#endif
        sequence = slots[index % SLOTS].sequence;
        item = slots[index % SLOTS].item;
        atomic {
          ticket = slots[index % SLOTS].ticket;
          first = slots[index % SLOTS].first
        }
        whole = sequence == index + 1 && slots[index % SLOTS].sequence == index + 1;
        assert(whole || withdrawn);
        index++;
        if
        :: withdrawn ->
          skipped_item[item] = skipped_item[item] || (whole && !IS_EVENT(item));
#ifndef DROP_SKIPPED
          if
          :: whole -> receipts!ticket, true
          :: else
          fi;
#endif
          finish()
#ifndef TWICE
        :: !withdrawn && first <= last_first ->
          receipts!ticket, true;
          finish()
#endif
        :: else ->
          atomic {
            assert(released[item] == 0 && !withdrawn_item[item]);
            delivered[item]++;
            assert(delivered[item] == 1);
            assert(first > last_first);
            last_first = first;
            with_reader[item] = true
          }
          finish();
          with_reader[item] = false;
          receipts!ticket, false
        fi
      fi
    od;
    item = 0;
    do
    :: item < ITEMS && !sender_dies ->
      assert(delivered[item] + (withdrawn_item[item] || skipped_item[item]) == 1);
      item++
    :: else -> break
    od
  } unless { receiver_dies };
  receiver_ends = true
}

proctype memory() {
end:
  do
  :: ARRIVE(head)
  :: ARRIVE(revoked)
  :: ARRIVE(claimed)
  od
}

proctype fate() {
  if
  :: sender_dies = true; sender_ends && !head.held && !revoked.held; receiver_alone = true
  :: receiver_dies = true; receiver_ends; sender_alone = true
  :: skip
  fi
}

init { atomic { run sender(); run receiver(); run memory(); run fate() } }
