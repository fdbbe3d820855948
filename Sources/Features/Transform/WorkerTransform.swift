import Core
import Foundation
import Synchronization
import Workers

/// Runs transforms in Python workers, the parts of a batch side by side.
package struct WorkerTransform: BatchTransform {
  /// A worker gets at most so many rows at once, so that a hanging function is seen soon.
  private static let batchRows = 10_000
  /// Fewer are not worth a way to another worker.
  private static let leastRows = 1_000
  /// A part that ends its workers is cut into so many, again and again, until the records that do it are alone.
  private static let cuts = 16
  /// After so many ends of one part the function is at fault, not a record: some records may end workers, but not the first
  /// ones that are tried, and not all.
  private static let mostEnds = (first: 20, all: 200)
  /// How often a batch is begun again because the code was edited while it ran.
  private static let attempts = 3

  private let pool: WorkerPool
  private let definitions: Published<Snapshot>
  private let timeout: Span
  private let say: (@Sendable (WorkerLogLine) -> Void)?
  private let known = KnownCode()

  /// - Parameters:
  ///   - timeout: of one part of a batch.
  ///   - say: told what the function prints and logs.
  package init(
    pool: WorkerPool, definitions: Published<Snapshot>, timeout: Span = .seconds(60),
    say: (@Sendable (WorkerLogLine) -> Void)? = nil
  ) {
    self.say = say
    self.pool = pool
    self.definitions = definitions
    self.timeout = timeout
  }

  /// All workers but the one that serves.
  package var width: Int { max(1, pool.configuration.maxPythonWorkers - 1) }

  package func transform(
    _ batch: ColumnBatch, of source: SourceDefinition, with function: CodeReference
  ) async throws -> TransformedRows {
    let directory = definitions.current.projectDirectory
    for _ in 0..<Self.attempts {
      let code = try await known.version(of: function, in: directory)
      let made = try await run(batch, function, code, in: directory, explain: false)
      // What the workers imported is what the digest says only where it is the same before and after.
      guard try await known.version(of: function, in: directory).digest == code.digest else {
        continue
      }
      return TransformedRows(
        columns: made.rows.columns, faults: made.errors, digest: code.digest)
    }
    throw PlatformError(
      .conflict, "\(function) was changed again and again while it ran; send the events again",
      retryable: true)
  }

  /// One part of a batch, with what a person wants to know of it: whole tracebacks and the time in the function.
  package func explain(
    _ batch: ColumnBatch, with function: CodeReference
  ) async throws -> (rows: TransformOutcome, compute: Span) {
    let directory = definitions.current.projectDirectory
    let code = try await known.version(of: function, in: directory)
    let result = try await pool.run(
      .transform(task(batch, function, code, in: directory, explain: true)), timeout: timeout)
    guard case .transformed(let outcome) = result.payload else { throw Self.foreign() }
    return (outcome, result.compute)
  }

  /// The identity of the code as it is now.
  package func digest(of function: CodeReference) async throws -> String? {
    try await known.version(of: function, in: definitions.current.projectDirectory).digest
  }

  private func task(
    _ rows: ColumnBatch, _ function: CodeReference, _ code: KnownCode.Version,
    in directory: String, explain: Bool
  ) -> TransformTask {
    let path = function.file.hasPrefix("/") ? function.file : "\(directory)/\(function.file)"
    return TransformTask(
      codePath: path, function: function.function, rows: rows, requirements: code.requirements,
      explain: explain)
  }

  private func run(
    _ batch: ColumnBatch, _ function: CodeReference, _ code: KnownCode.Version,
    in directory: String, explain: Bool
  ) async throws -> TransformOutcome {
    let share = (batch.count + width - 1) / width
    let size = min(Self.batchRows, max(Self.leastRows, share))
    var from = 0
    var pieces: [Piece] = []
    try await inOrder(
      width: width * 2,
      take: { () -> ColumnBatch? in
        guard from < batch.count else { return nil }
        let to = min(from + size, batch.count)
        defer { from = to }
        return to - from == batch.count ? batch : batch.gather(Array(from..<to))
      },
      work: { rows in
        var tries = Tries()
        return try await self.pieces(of: rows, &tries) { rows in
          let task = self.task(rows, function, code, in: directory, explain: explain)
          let result = try await self.pool.run(
            .transform(task), timeout: self.timeout, say: self.say)
          guard case .transformed(let part) = result.payload else { throw Self.foreign() }
          return part
        }
      }, deliver: { (done: [Piece]) in pieces += done })
    return try Self.joined(pieces, of: function)
  }

  /// Rows that were worked on together.
  private struct Piece: Sendable {
    var count: Int
    /// Nil for a record that ends the worker that works on it.
    var outcome: TransformOutcome?
    var fault = ""
  }

  private struct Tries {
    var ends = 0
    var hasSucceeded = false
    var areOver: Bool { ends >= (hasSucceeded ? mostEnds.all : mostEnds.first) }
  }

  /// Works on rows, and where that ends the workers twice, on smaller and smaller parts of them: the records that do it are
  /// left, all others are transformed.
  private func pieces(
    of rows: ColumnBatch, _ tries: inout Tries,
    _ run: @Sendable (ColumnBatch) async throws -> TransformOutcome
  ) async throws -> [Piece] {
    do {
      let outcome = try await run(rows)
      tries.hasSucceeded = true
      return [Piece(count: rows.count, outcome: outcome)]
    } catch let error as PlatformError where WorkItem.isBlamed(for: error) {
      tries.ends += 1
      if tries.areOver { throw error }
      if rows.count == 1 { return [Piece(count: 1, fault: error.message)] }
    }
    var all: [Piece] = []
    let size = (rows.count + Self.cuts - 1) / Self.cuts
    for start in stride(from: 0, to: rows.count, by: size) {
      let part = rows.gather(Array(start..<min(start + size, rows.count)))
      all += try await pieces(of: part, &tries, run)
    }
    return all
  }

  private static func joined(
    _ pieces: [Piece], of function: CodeReference
  ) throws -> TransformOutcome {
    var made = TransformOutcome(rows: ColumnBatch(columns: []), errors: [:], tracebacks: [:])
    var done = 0
    for piece in pieces {
      for (row, error) in piece.outcome?.errors ?? [0: piece.fault] {
        made.errors[done + row] = error
      }
      try add(
        piece.outcome?.rows ?? ColumnBatch(columns: []), piece.count, to: &made.rows, after: done,
        of: function)
      done += piece.count
    }
    return made
  }

  /// Puts the columns of a part behind those of the parts before it. A part for whose every row the function raised has none.
  private static func add(
    _ part: ColumnBatch, _ count: Int, to made: inout ColumnBatch, after done: Int,
    of function: CodeReference
  ) throws {
    if part.columns.isEmpty {
      let nulls = made.columns.map { Column(name: $0.name, nulls: count, of: $0.type) }
      if !nulls.isEmpty { made.append(contentsOf: ColumnBatch(columns: nulls, count: count)) }
      return
    }
    if made.columns.isEmpty {
      made = ColumnBatch(
        columns: part.columns.map { Column(name: $0.name, nulls: done, of: $0.type) }, count: done)
    }
    guard part.columns.map(\.name) == made.columns.map(\.name) else {
      throw PlatformError(
        .userCode, "\(function) answers other columns for some batches; always return the same")
    }
    made.append(contentsOf: part)
  }

  private static func foreign() -> PlatformError {
    PlatformError(.internalError, "a transform was answered with something else")
  }
}

/// The versions of code, read again only where a file has changed.
final class KnownCode: Sendable {
  struct Version: Sendable {
    var digest: String
    /// The text of the requirements file; empty without one.
    var requirements: String
  }

  private struct Entry: Sendable {
    var files: CodeFiles
    var stamp: [String]
    var version: Version
  }

  private struct Key: Hashable {
    var function: CodeReference
    var directory: String
  }

  private let entries = Mutex<[Key: Entry]>([:])

  func version(of function: CodeReference, in directory: String) async throws -> Version {
    let key = Key(function: function, directory: directory)
    if let entry = entries.withLock({ $0[key] }), entry.files.stamp == entry.stamp {
      return entry.version
    }
    let entry = try await offPool { try Self.read(function, in: directory) }
    entries.withLock { entries in
      // Functions of definitions that are gone need not be kept.
      if entries.count >= Limits.codeFiles { entries.removeAll() }
      entries[key] = entry
    }
    return entry.version
  }

  private static func read(_ function: CodeReference, in directory: String) throws -> Entry {
    do {
      let files = try CodeFiles(function, in: directory)
      let stamp = files.stamp
      let requirements = try files.requirements.map {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: $0)), as: UTF8.self)
      }
      let version = Version(digest: try files.digest(), requirements: requirements ?? "")
      return Entry(files: files, stamp: stamp, version: version)
    } catch let error as PlatformError {
      throw error
    } catch {
      throw PlatformError(
        .failedPrecondition,
        "a file of \(function) cannot be read; put it back, or change `transform` and apply",
        cause: error)
    }
  }
}
