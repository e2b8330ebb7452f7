/* Descriptors through a ring of slots that are used again and again.
 *
 * Models   SendLane::publish, refresh and write, ReceiveLane::take and finish: the words of a slot
 *          one by one, its sequence before and after, `head`, `claimed` and `taken`. All SYNC
 *          comments on acquire and release but those on `revoked` and receipts. Either side may
 *          die at any step.
 * Claims   every descriptor that is taken is the next one and whole; what was announced by a sender
 *          that died since is taken; a sender does not wait for ever where the receiver goes on.
 * Faults   HEAD_EARLY: `head` is stored before the slot. TAKEN_EARLY: a slot is given back before
 *          it is copied. CLAIMED_ALONE: a slot is free as soon as it is claimed. LAX: one more item
 *          than there are slots. DEAD_DROPS: a reader stops where its peer is dead. NO_REFRESH: a
 *          sender that finds the ring full does not look again, and so never ends.
 * Leaves   sleeping (wakeup.pml): both sides look again and again. Withdrawing (withdraw.pml).
 */
#define ITEMS 5
#define SLOTS 2
#ifdef LAX
#define ROOM SLOTS + 1
#else
#define ROOM SLOTS
#endif

typedef Slot { byte sequence, first, second };

Slot slots[SLOTS];    /* in the sender's half, with … */
byte head;
byte claimed, taken;  /* in the receiver's half */

bool sender_dies, receiver_dies, sender_ends, receiver_ends;
bool sender_alone, receiver_alone; /* the peer has hung up, and we know */

proctype sender() {
  byte published, in_use;
  {
    do
    :: published == ITEMS || sender_alone -> break
    :: published < ITEMS && !sender_alone && published - in_use >= ROOM ->
#if defined(CLAIMED_ALONE)
      in_use = claimed
#elif defined(NO_REFRESH)
      skip
#else
      in_use = taken
#endif
    :: published < ITEMS && !sender_alone && published - in_use < ROOM ->
#ifdef HEAD_EARLY
      head = published + 1;
#endif
      slots[published % SLOTS].sequence = 0;
      slots[published % SLOTS].first = published;
      slots[published % SLOTS].second = published;
      slots[published % SLOTS].sequence = published + 1;
      published++;
      head = published
    od
  } unless { sender_dies };
  sender_ends = true
}

proctype receiver() {
  byte index, sequence, first, second;
  bool closing;
  {
    do
    :: closing = receiver_alone;
#ifdef DEAD_DROPS
      if
      :: closing -> break
      :: else
      fi;
#endif
      if
      :: head != index ->
        claimed = index + 1;
#ifdef TAKEN_EARLY
        taken = index + 1;
#endif
        sequence = slots[index % SLOTS].sequence;
        first = slots[index % SLOTS].first;
        second = slots[index % SLOTS].second;
        assert(sequence == index + 1 && slots[index % SLOTS].sequence == index + 1);
        assert(first == index && second == index);
        index++;
        taken = index
      :: head == index && closing -> break
      :: head == index && !closing && index == ITEMS -> break
      :: head == index && !closing && index < ITEMS
      fi
    od;
    assert(index == head)
  } unless { receiver_dies };
  receiver_ends = true
}

proctype fate() {
  if
  :: sender_dies = true; sender_ends; receiver_alone = true
  :: receiver_dies = true; receiver_ends; sender_alone = true
  :: skip
  fi
}

init { atomic { run sender(); run receiver(); run fate() } }

ltl ends { <> (sender_ends && receiver_ends) }
