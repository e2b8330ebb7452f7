/* What the models share: words of shared memory on a machine that delays stores, and futexes.
 *
 * A store is held back for as long as `memory` in each model likes, as the store buffer of x86 does
 * (and of others, which do more besides), and its own fence waits for it. What a process that dies
 * has stored still arrives. Loads are in order. A model holds back the stores that are followed by
 * a fence in the code, and those that take a sleep back; for the others the order in which they are
 * written is the order in which they are seen, which release and acquire give.
 *
 * Not in here: indices that wrap around, waits that end for no reason or by a deadline. What is
 * woken only by its deadline is a lost wake-up.
 */
typedef Word {
  byte seen;   /* by everybody else */
  byte stored; /* by its writer, where it is held back */
  bool held
};

#define STORE(word, value) atomic { !word.held -> word.stored = value; word.held = true }
#define FENCE(word) !word.held
#define ARRIVE(word) d_step { word.held -> word.seen = word.stored; word.held = false }

/* futex_waitv on a word and on the count of a kick. Comparing and queueing are one step for each,
 * as the kernel does it under the lock of that futex; a wake-up in between is not lost. Whoever
 * wakes sets the flags of all who are queued there to false. */
#define WAIT(word, expected, at_word, kicks, kicks_seen, at_kick) \
  if                                                             \
  :: atomic { word.seen == expected -> at_word = true }           \
    if                                                           \
    :: atomic { kicks == kicks_seen -> at_kick = true }           \
      !at_word || !at_kick                                       \
    :: else                                                      \
    fi                                                           \
  :: else                                                        \
  fi;                                                            \
  atomic { at_word = false; at_kick = false }
