import Core
import Features
import Testing

@Suite struct ParityCauseTests {
  private static let five = FeatureValue(value: .double(5), status: .present)
  private static let null = FeatureValue(value: .null, status: .null)
  private static let gone = FeatureValue(value: .null, status: .expired)
  private static let unknown = FeatureValue(value: .null, status: .notFound)

  @Test(
    "what two values alone tell of why they differ",
    arguments: [
      (unknown, five, ParityCheck.Cause.missingOnline), (five, unknown, .missingInWarehouse),
      (five, gone, .expiredDiffers), (gone, five, .expiredDiffers), (five, null, .nullDiffers),
      (null, five, .nullDiffers),
      (FeatureValue(value: .double(6), status: .present), five, .valueDiffers),
    ])
  func causes(served: FeatureValue, recomputed: FeatureValue, cause: ParityCheck.Cause) {
    #expect(!ParityCheck.agrees(served, recomputed))
    #expect(ParityCheck.plainCause(served, recomputed) == cause)
  }

  @Test(
    "doubles agree to a billionth, everything else exactly",
    arguments: [
      (Value.double(1), Value.double(1 + 5e-10), true), (.double(1), .double(1 + 5e-9), false),
      (.double(1e-300), .double(2e-300), false), (.double(.nan), .double(.nan), true),
      (.double(.infinity), .double(.infinity), true), (.double(.infinity), .double(1), false),
      (.int64(1), .int64(2), false), (.string("é"), .string("e\u{301}"), false),
      (.list(.double([1, 2])), .list(.double([1, 2 + 1e-10])), true),
      (.list(.double([1, 2])), .list(.double([1])), false),
    ])
  func agreement(a: Value, b: Value, isSame: Bool) {
    #expect(
      ParityCheck.agrees(
        FeatureValue(value: a, status: .present), FeatureValue(value: b, status: .present))
        == isSame)
  }
}
