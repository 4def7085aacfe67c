export function Logo({ size = 24 }: { size?: number }) {
  return (
    <svg className="logo" viewBox="0 0 32 32" width={size} height={size} aria-hidden="true">
      <path d="M9 28V4" />
      <path d="M9 21c0-6 13-4 13-11V8" />
      <circle cx="22" cy="6" r="2.5" />
    </svg>
  );
}
