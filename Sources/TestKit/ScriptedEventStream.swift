import Core
import DequeModule
import Synchronization

/// A stream that a test plays the group of: it gives events, and sees what was begun, released and committed.
package final class ScriptedEventStream: EventStream {
  private struct State {
    var events: Deque<StreamEvent> = []
    var reader: CheckedContinuation<StreamEvent?, any Error>?
    var begun: [[StreamPartition: Int64?]] = []
    var released: [[StreamPartition]] = []
    var committed: [StreamPartition: Int64] = [:]
    var held: Set<StreamPartition> = []
    var isClosed = false
  }

  private let state = Mutex(State())

  package init() {}

  package func give(_ event: StreamEvent) {
    let reader = state.withLock { state in
      if let reader = state.reader.take() { return Optional(reader) }
      state.events.append(event)
      return nil
    }
    reader?.resume(returning: event)
  }

  /// Records of one partition, numbered from `first`; a nil value is a tombstone.
  package func give(
    _ values: [String?], of partition: StreamPartition, from first: Int64,
    eventIDs: [String]? = nil
  ) {
    var batch = StreamBatch()
    let place = batch.place(of: partition)
    for (index, value) in values.enumerated() {
      var record = StreamRecord(partition: place, offset: first + Int64(index))
      record.value = value.map { text in Array(text.utf8).withUnsafeBytes { batch.keep($0) } }
      record.eventID = eventIDs.map { ids in
        Array(ids[index].utf8).withUnsafeBytes { batch.keep($0) }
      }
      batch.records.append(record)
    }
    give(.batch(batch))
  }

  package var begun: [[StreamPartition: Int64?]] { state.withLock { $0.begun } }
  package var released: [[StreamPartition]] { state.withLock { $0.released } }
  package var committed: [StreamPartition: Int64] { state.withLock { $0.committed } }
  package var held: Set<StreamPartition> { state.withLock { $0.held } }
  package var isClosed: Bool { state.withLock { $0.isClosed } }

  package func next() async throws -> StreamEvent? {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { reader in
        let answer: StreamEvent?? = state.withLock { state in
          if let event = state.events.popFirst() { return .some(event) }
          if state.isClosed || Task.isCancelled { return .some(nil) }
          state.reader = reader
          return nil
        }
        if let answer { reader.resume(returning: answer) }
      }
    } onCancel: {
      state.withLock { $0.reader.take() }?.resume(returning: nil)
    }
  }

  package func begin(_ positions: [StreamPartition: Int64?]) async throws {
    state.withLock { $0.begun.append(positions) }
  }

  package func release(_ partitions: [StreamPartition]) async throws {
    state.withLock { $0.released.append(partitions) }
  }

  package func commit(_ offsets: [StreamOffset]) {
    state.withLock { state in
      for offset in offsets {
        state.committed[offset.partition] = max(
          offset.next, state.committed[offset.partition] ?? 0)
      }
    }
  }

  package func hold(_ partitions: Set<StreamPartition>) { state.withLock { $0.held = partitions } }

  package var lag: [StreamLag] { [] }

  package func close() async {
    let reader = state.withLock { state in
      state.isClosed = true
      return state.reader.take()
    }
    reader?.resume(returning: nil)
  }
}
