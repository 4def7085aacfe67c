/** What was read from the server, kept for a while and shared by all components. */
import { Problem } from '@branchline/client/api/request';
import { QueryClient } from '@tanstack/react-query';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      retry: (count, error) => count < 4 && error instanceof Problem && error.isTransient,
    },
    mutations: { networkMode: 'always' },
  },
});
