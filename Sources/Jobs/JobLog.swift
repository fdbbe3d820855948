import Core
import Synchronization

/// A line of a job's log.
package struct JobLogLine: Sendable, Equatable {
  /// Counts from 1 within the job; numbers that are missing were let go.
  package var number: Int64
  package var time: Timestamp
  package var attempt: Int
  package var line: TaskLine
}

/// The lines of one attempt that are yet to be stored; the oldest go where more come than can be stored.
package final class JobLog: Sendable {
  private struct State {
    var lines: [(time: Timestamp, line: TaskLine)] = []
    var dropped = 0
  }

  private let queue: JobQueue
  private let run: JobRun
  private let clock: any WallClock
  private let state = Mutex(State())

  package init(_ queue: JobQueue, _ run: JobRun, clock: any WallClock) {
    self.queue = queue
    self.run = run
    self.clock = clock
  }

  /// Takes a line; never waits.
  package func say(_ line: TaskLine) {
    var line = line
    line.message = String(line.message.prefix(Limits.jobLogCharacters))
    let time = clock.now
    state.withLock { [line] state in
      state.lines.append((time, line))
      guard state.lines.count > Limits.jobLogLines else { return }
      // A half at a time, so that it costs nothing on average.
      state.dropped += Limits.jobLogLines / 2
      state.lines.removeFirst(Limits.jobLogLines / 2)
    }
  }

  /// Stores what has come.
  package func flush() async throws {
    let (lines, dropped) = state.withLock { state in
      defer { state = State() }
      return (state.lines, state.dropped)
    }
    guard !lines.isEmpty else { return }
    try await queue.log(lines, dropped: dropped, of: run)
  }
}
