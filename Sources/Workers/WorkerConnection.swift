import Core
import Logging
import NIOCore
import Wire

/// One worker's socket: turns bytes into frames and hands them to the pool, on the channel's event
/// loop.
final class WorkerConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let pool: WorkerPool
  private var received = ByteBuffer()
  /// Nil until the worker was accepted.
  private var worker: WorkerID?

  init(pool: WorkerPool) { self.pool = pool }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if received.readableBytes == 0 {
      received = bytes
    } else {
      received.writeBuffer(&bytes)
    }
    do {
      while let frame = try WorkerFrames.decode(from: &received, limit: limit) {
        guard take(frame, context) else { return refuse(context) }
      }
      received.discardReadBytes()
    } catch {
      pool.logger.error(
        "closing a worker's connection: \(error)", metadata: ["worker": "\(name)"])
      context.close(promise: nil)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if let worker { pool.closed(worker, on: context.eventLoop) }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A reset by a worker that was killed; `channelInactive` follows.
    context.close(promise: nil)
  }

  private var limit: Int { worker == nil ? WorkerFrames.helloBytes : Limits.frameBytes }
  private var name: String { worker?.description ?? "unknown" }

  /// False for a frame that has no place here.
  private func take(_ frame: Martlet_Worker_V1_Frame, _ context: ChannelHandlerContext) -> Bool {
    guard let worker else {
      guard case .hello(let hello)? = frame.kind else { return false }
      self.worker = pool.hello(hello, on: context.channel)
      return self.worker != nil
    }
    switch frame.kind {
    case .result(let result): pool.answered(worker, result.taskID, .success(result))
    case .fault(let fault):
      pool.answered(worker, fault.taskID, .failure(TaskFault(fault, worker: worker)))
    case .heartbeat(let heartbeat):
      pool.heartbeat(worker, memory: Int(clamping: heartbeat.rssBytes))
    case .log(let line): pool.said(worker, line)
    case .hello, .welcome, .task, .drain, nil: return false
    }
    return true
  }

  private func refuse(_ context: ChannelHandlerContext) {
    pool.logger.warning(
      "refusing a connection to the workers' socket: it is not a worker that was started here",
      metadata: ["worker": "\(name)"])
    context.close(promise: nil)
  }
}
