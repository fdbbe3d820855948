import Dispatch

/// Runs work that blocks away from the cooperative threads.
func offPool<Result: Sendable>(
  _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    DispatchQueue.global(qos: .utility).async {
      continuation.resume(with: Swift.Result { try body() })
    }
  }
}
