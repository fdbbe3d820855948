import Core
import Foundation
import NIOCore
import SwiftProtobuf
import Wire

/// Frames as bytes: a 4-byte little-endian length, then one serialized `Frame`.
package enum WorkerFrames {
  /// Bytes of a frame before `Welcome` was sent.
  package static let helloBytes = 1 << 20
  package static let lengthBytes = 4

  package static func encode(
    _ frame: Martlet_Worker_V1_Frame, with allocator: ByteBufferAllocator
  ) throws -> ByteBuffer {
    let payload: [UInt8] = try frame.serializedBytes()
    guard payload.count <= Limits.frameBytes else {
      throw PlatformError(
        .invalidArgument,
        "the task takes \(payload.count) bytes and a worker takes at most \(Limits.frameBytes) "
          + "at once; send fewer rows")
    }
    var buffer = allocator.buffer(capacity: lengthBytes + payload.count)
    buffer.writeInteger(UInt32(payload.count), endianness: .little)
    buffer.writeBytes(payload)
    return buffer
  }

  /// The next whole frame, nil until all of it has come.
  ///
  /// - Throws: `invalidRecord` for a length of zero or above `limit`, and what does not parse: the
  /// connection is of no use any more.
  package static func decode(
    from buffer: inout ByteBuffer, limit: Int
  ) throws -> Martlet_Worker_V1_Frame? {
    guard
      let length: UInt32 = buffer.getInteger(at: buffer.readerIndex, endianness: .little)
    else { return nil }
    guard length > 0, length <= limit else {
      throw PlatformError(
        .invalidRecord, "a worker sent a frame of \(length) bytes; it must be 1 to \(limit)")
    }
    guard buffer.readableBytes >= lengthBytes + Int(length) else { return nil }
    buffer.moveReaderIndex(forwardBy: lengthBytes)
    let payload = buffer.readBytes(length: Int(length)) ?? []
    return try Martlet_Worker_V1_Frame(serializedBytes: payload)
  }

  static func task(
    _ flight: Flight, libraries: LibraryVersions, now: Span
  ) throws -> Martlet_Worker_V1_Frame {
    var task = Martlet_Worker_V1_Task()
    task.id = String(flight.id)
    let left = max(flight.deadline.microseconds - now.microseconds, 1_000) / 1_000
    task.timeoutMs = UInt32(clamping: left)
    task.work = try work(flight, libraries)
    var frame = Martlet_Worker_V1_Frame()
    frame.task = task
    return frame
  }

  private static func work(
    _ flight: Flight, _ libraries: LibraryVersions
  ) throws -> Martlet_Worker_V1_Task.OneOf_Work? {
    switch flight.work {
    case .load(let artifact):
      var load = Martlet_Worker_V1_LoadModel()
      load.model = artifact.key.model
      load.version = UInt64(artifact.key.version)
      load.artifactPath = artifact.path
      load.sha256 = artifact.sha256
      load.format = artifact.format
      load.features = artifact.features
      load.libraryVersions = libraries.rawValue
      return .loadModel(load)
    case .unload(let key):
      var unload = Martlet_Worker_V1_Unload()
      unload.model = key.model
      unload.version = UInt64(key.version)
      return .unload(unload)
    case .items: return try work(flight.items)
    }
  }

  private static func work(_ items: [WorkItem]) throws -> Martlet_Worker_V1_Task.OneOf_Work? {
    switch items.first?.task {
    case .predict(let key, var rows):
      for item in items.dropFirst() {
        if case .predict(_, let more) = item.task { rows.append(contentsOf: more) }
      }
      var predict = Martlet_Worker_V1_Predict()
      predict.model = key.model
      predict.version = UInt64(key.version)
      predict.rows = try WorkerColumns.packed(rows)
      return .predict(predict)
    case .train(let given):
      var train = Martlet_Worker_V1_Train()
      train.runPath = given.runPath
      train.function = given.function
      train.workingDirectory = given.workingDirectory
      train.datasetPath = given.datasetPath
      train.features = given.features
      train.label = given.label
      train.optionsJson = given.options
      train.outputDirectory = given.outputDirectory
      train.evaluationFrom = UInt64(given.evaluationFrom)
      return .train(train)
    case .transform(let given):
      var transform = Martlet_Worker_V1_Transform()
      transform.codePath = given.codePath
      transform.function = given.function
      transform.rows = try WorkerColumns.packed(given.rows)
      transform.requirements = given.requirements
      transform.explain = given.explain
      return .transform(transform)
    case nil: return nil
    }
  }
}

extension WorkerResult {
  /// What the answer means for one call.
  init(_ answer: WorkerAnswer, to task: WorkerTask) throws {
    let payload: Payload
    switch (task, answer.result.payload) {
    case (.predict(let key, let rows), .predicted(let predicted)):
      let all = try WorkerColumns.predictions(predicted.predictions)
      let last = answer.firstRow + rows.count
      guard last <= all.count else {
        throw PlatformError(
          .userCode, "\(key) answered \(all.count) numbers for at least \(last) rows")
      }
      payload = .predicted(Array(all[answer.firstRow..<last]))
    case (.train, .trained(let trained)):
      payload = .trained(
        TrainedModel(
          artifactPath: trained.artifactPath, format: trained.format, sha256: trained.sha256,
          evaluationPredictions: try WorkerColumns.predictions(trained.evaluationPredictions),
          trainingPredictions: try WorkerColumns.predictions(trained.trainingPredictions),
          metrics: trained.metrics, libraries: trained.libraries))
    case (.transform, .transformed(let transformed)):
      let errors = transformed.rowErrors.map { (Int($0.row), $0.message) }
      payload = .transformed(
        TransformOutcome(
          rows: try WorkerColumns.unpacked(transformed.rows),
          errors: Dictionary(errors) { first, _ in first },
          tracebacks: Dictionary(
            transformed.rowErrors.filter { !$0.traceback.isEmpty }.map {
              (Int($0.row), $0.traceback)
            }
          ) { first, _ in first }))
    default:
      throw PlatformError(.internalError, "worker \(answer.worker) answered another kind of task")
    }
    self.init(
      payload: payload, queue: answer.queue,
      compute: Span(microseconds: Int64(clamping: answer.result.computeUs)),
      workerID: answer.worker.description)
  }
}
